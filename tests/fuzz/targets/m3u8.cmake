weir_fuzz(m3u8 LINK weir_hls)
