weir_fuzz(edge_probe LINK weir_nginx)
