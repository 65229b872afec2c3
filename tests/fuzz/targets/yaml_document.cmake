weir_fuzz(yaml_document LINK weir_describe)
