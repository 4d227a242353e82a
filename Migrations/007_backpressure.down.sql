drop view outrider.topic_limits, outrider.dropped;
drop function outrider.set_gate, outrider.nanoseconds, outrider.pass(outrider.gate, int), outrider.book, outrider.room,
    outrider.refuse_full, outrider.hold, outrider.has_backlogs, outrider.tend_gates, outrider.gate_depths, outrider.depth,
    outrider.scheduled_counts, outrider.drop_oldest, outrider.fold_dropped;
drop table outrider.gate_full, outrider.dropped_delivery;
drop sequence outrider.gates_seen;
delete from outrider.route r where r.subscription_id < 0;
do $$
declare
    gate outrider.gate;
begin
    for gate in select * from outrider.gate loop
        execute format('drop sequence %s, %s, %s', gate.permits, gate.reading, gate.due);
    end loop;
end
$$;
delete from outrider.gate;
