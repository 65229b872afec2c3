weir_fuzz(json_document LINK weir_describe)
