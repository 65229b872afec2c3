weir_fuzz(http_target LINK weir_http)
