weir_fuzz(etcd_answer LINK weir_election)
