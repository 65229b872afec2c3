weir_fuzz(live_parts LINK weir_hls)
