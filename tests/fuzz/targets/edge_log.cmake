weir_fuzz(edge_log LINK weir_nginx)
