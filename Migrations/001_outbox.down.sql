-- The schema itself and the record of migrations stay.
drop trigger route on outrider.outbox;
drop trigger guard on outrider.outbox;
drop function outrider.outbox_route, outrider.enters_queue, outrider.examine, outrider.route_rest, outrider.has_rest,
    outrider.stop_at_gate, outrider.leave_rest, outrider.is_permitted, outrider.wake_one, outrider.goes_straight, outrider.goes_to,
    outrider.outbox_guard, outrider.guard, outrider.is_unguarded, outrider.is_malformed;
drop table outrider.outbox, outrider.outbox_partition, outrider.dropped_partition, outrider.definition, outrider.subscription,
    outrider.route, outrider.topic,
    outrider.endpoint, outrider.chosen_id, outrider.dedupe, outrider.cancelled_message, outrider.delivery, outrider.scheduled,
    outrider.backlog, outrider.arrival, outrider.active_slot, outrider.held_slot, outrider.lane_floor, outrider.key_check,
    outrider.gate;
drop sequence outrider.delivery_id, outrider.place, outrider.settling;
drop function outrider.publish, outrider.refuse_malformed, outrider.make_partitions,
    outrider.close_partitions, outrider.drop_expired_partition, outrider.wake, outrider.uuid_v7, outrider.is_generated,
    outrider.uuid_v7_floor, outrider.uuid_v7_time;
