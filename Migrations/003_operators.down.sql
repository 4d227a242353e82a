drop view outrider.definitions, outrider.operations, outrider.workers, outrider.subscriptions,
    outrider.scaling, outrider.queue_depth, outrider.dead_letters, outrider.delivery_attempts, outrider.deliveries, outrider.messages,
    outrider.queued;
drop function outrider.operation_step, outrider.operation_failed, outrider.open_transactions, outrider.replay, outrider.redrive_all,
    outrider.log_step, outrider.log_slice, outrider.log_gap, outrider.cancel_operation, outrider.discard_all, outrider.order_letters,
    outrider.discard, outrider.require_reason, outrider.close_letters, outrider.redrive, outrider.edit_letter, outrider.queued_again,
    outrider.queued_of,
    outrider.redrive_saga,
    outrider.requeue, outrider.restore, outrider.partition_of, outrider.open_letter, outrider.resume, outrider.pause, outrider.cancel_message, outrider.announce,
    outrider.subscription_id;
