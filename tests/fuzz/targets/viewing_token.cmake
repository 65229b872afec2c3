weir_fuzz(viewing_token LINK weir_viewing)
