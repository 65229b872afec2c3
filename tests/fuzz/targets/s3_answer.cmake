weir_fuzz(s3_answer LINK weir_origin)
