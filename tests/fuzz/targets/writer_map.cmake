weir_fuzz(writer_map LINK weir_origin)
