weir_fuzz(replica_answer LINK weir_origin)
