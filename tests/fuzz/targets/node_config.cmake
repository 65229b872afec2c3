weir_fuzz(node_config LINK weir_describe)
