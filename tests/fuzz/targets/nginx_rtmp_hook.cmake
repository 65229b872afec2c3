weir_fuzz(nginx_rtmp_hook LINK weir_rtmp)
