weir_fuzz(machine_answer LINK weir_machines)
