drop view outrider.saga_steps, outrider.saga_history, outrider.sagas;
drop function outrider.prune_sagas, outrider.park_saga, outrider.stay_alive, outrider.tell_parent, outrider.tell_child, outrider.resolve_step,
    outrider.skip_step, outrider.retry_saga, outrider.resume_saga, outrider.suspend_saga, outrider.terminate_saga,
    outrider.cancel_saga, outrider.ask_saga, outrider.heartbeat_step, outrider.fail_step, outrider.complete_step,
    outrider.call_back, outrider.signal_saga(uuid, text, jsonb), outrider.signal_saga(text, text, text, jsonb), outrider.mail,
    outrider.find_saga, outrider.start_from_messages, outrider.start_saga, outrider.begin_saga, outrider.take_key, outrider.enqueue_saga,
    outrider.saga_key;
drop table outrider.saga_callback, outrider.saga_mail, outrider.saga_fact, outrider.saga_key, outrider.saga, outrider.saga_type;

-- A definition that stays would not be applied again, and what stands in the queue speaks of nothing any more. Messages that
-- would have started sagas become dead letters.
delete from outrider.definition where kind = 'saga';
delete from outrider.dead_letter where kind <> 'message';
delete from outrider.delivery where subscription_id < 0;
delete from outrider.scheduled where subscription_id < 0;
delete from outrider.route r using outrider.subscription s where s.id = r.subscription_id and s.saga is not null;
update outrider.subscription set removed_at = clock_timestamp() where saga is not null;
