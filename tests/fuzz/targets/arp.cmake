weir_fuzz(arp LINK weir_network)
