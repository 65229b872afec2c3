weir_fuzz(reload LINK weir_hls)
