weir_fuzz(media_child_record LINK weir_media)
