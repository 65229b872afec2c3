weir_fuzz(rtmp_stat LINK weir_rtmp)
