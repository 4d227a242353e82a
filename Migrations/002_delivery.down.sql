drop function outrider.prune, outrider.bury_removed, outrider.hang_up, outrider.beat, outrider.move_due, outrider.rescue, outrider.reply,
    outrider.publish_reply, outrider.bury;
drop table outrider.operation, outrider.edited_message, outrider.dead_letter, outrider.delivery_attempt, outrider.worker;
