weir_fuzz(beacon LINK weir_audience)
