weir_fuzz(log_page LINK weir_hls)
