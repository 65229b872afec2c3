weir_fuzz(forwarded LINK weir_http)
