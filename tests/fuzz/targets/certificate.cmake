weir_fuzz(certificate LINK weir_cluster)
