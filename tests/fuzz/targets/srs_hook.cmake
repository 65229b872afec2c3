weir_fuzz(srs_hook LINK weir_rtmp)
