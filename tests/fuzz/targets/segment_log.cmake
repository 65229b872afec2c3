weir_fuzz(segment_log LINK weir_hls)
