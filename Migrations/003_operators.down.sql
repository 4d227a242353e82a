drop view outrider.definitions, outrider.operations, outrider.workers, outrider.endpoints, outrider.subscriptions,
    outrider.queue_depth, outrider.dead_letters, outrider.delivery_attempts, outrider.deliveries, outrider.messages, outrider.queued;
drop function outrider.operation_step, outrider.operation_failed, outrider.open_transactions, outrider.replay, outrider.redrive_all, outrider.discard, outrider.redrive,
    outrider.redrive_saga,
    outrider.requeue, outrider.restore, outrider.open_letter, outrider.resume, outrider.pause, outrider.cancel_message, outrider.announce,
    outrider.subscription_id;
