drop function outrider.prune, outrider.beat, outrider.move_due, outrider.rescue, outrider.bury;
drop table outrider.operation, outrider.dead_letter, outrider.delivery_attempt, outrider.worker;
