-- Backpressure: what a topic takes from its publishers.

-- A topic whose file has `max_backlog` or `publish_rate` has a *gate*: a row of `gate`, and one of `route` that delivers nothing
-- and makes the trigger of the log ask for a permit, and `pass` below if there is none. Topics without one never come here.
--
--   gate               the limits, changed by nothing but an apply
--   gate.permits       a sequence: how many messages still pass without a further look, below zero; each draws one
--   gate.reading       a sequence: when the backlogs were last counted, and whether one of them was too deep
--   gate.due           a sequence: when the rate takes the next message, in nanoseconds since 1970
--   gate_full          the subscriptions that were too deep at the last reading
--   dropped_delivery   what was given up for it, counted
--
-- *Permits.* Whoever finds none left looks at the limits, and gives as many as they allow: what the rate would have taken
-- meanwhile, and at most a twentieth of the `max_backlog`. The leading worker takes them back when a backlog is too deep.
--
-- *Readings.* To count a backlog costs its length, so publishers do not. The leading worker does, at each of its beats, and
-- publishers look at what it found. It stands in a sequence: that costs no transaction, leaves no old version of a row behind
-- for as long as somebody holds an old snapshot, and shows a publisher in `repeatable read` the present. When it is a second
-- old, no worker leads, and the next publisher takes the reading itself.
--
-- *Rates.* Each message is booked for a time from which on it is due (the generic cell rate algorithm, ITU-T I.371, also called
-- virtual scheduling). Nobody books while the next time has not come, or, with `overflow: block`, whoever books waits until it
-- has. What was booked counts, also when its transaction is rolled back.
--
-- *Exempt* are the workers' own sessions: what sagas and schedules publish was decided already, and has nobody who would try again.

create table outrider.gate_full (
    gate_id int not null,
    subscription_id int not null,
    -- As it was found then.
    depth bigint not null,
    since timestamptz not null default clock_timestamp(),
    primary key (gate_id, subscription_id)
);

-- Only appended to by those who drop, and folded to one row of each kind by housekeeping.
create table outrider.dropped_delivery (
    id bigint generated always as identity primary key,
    topic text not null,
    subscription_id int not null,
    reason text not null check (reason in ('drop_oldest', 'drop_newest')),
    count bigint not null,
    at timestamptz not null default clock_timestamp()
);

-- Where the ids of deliveries were when the backlogs of all gates were found empty; 0 when they were not.
create sequence outrider.gates_seen as bigint minvalue 0 start 0;

-- ---------------------------------------------------------------------------------------------------------------
-- Gates

-- The time, since 1970, to the microsecond.
create function outrider.nanoseconds() returns bigint
language sql volatile
return (date_part('epoch', clock_timestamp()) * 1e6)::bigint * 1000;

-- Gives a topic its limits, or, with neither a backlog nor a rate, none.
create function outrider.set_gate(
    topic text, max_backlog int, overflow text, block_for interval, publish_rate text, per_second float8
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp as $$
declare
    gate_id int;
    name text;
    now constant bigint := outrider.nanoseconds();
begin
    if max_backlog is null and per_second is null then
        delete from outrider.route r using outrider.gate g where g.topic = set_gate.topic and r.subscription_id = -g.id;
        delete from outrider.gate_full f using outrider.gate g where g.topic = set_gate.topic and f.gate_id = g.id;
    else
        insert into outrider.gate (topic) values (set_gate.topic) on conflict do nothing returning id into gate_id;
        if gate_id is not null then
            for name in select unnest('{permits,reading,due}'::text[]) loop
                execute format('create sequence outrider.gate_%s_%s as bigint minvalue -9223372036854775807', gate_id, name);
                perform setval(format('outrider.gate_%s_%s', gate_id, name)::regclass, 0);
            end loop;
            update outrider.gate g
            set permits = format('outrider.gate_%s_permits', gate_id)::regclass,
                reading = format('outrider.gate_%s_reading', gate_id)::regclass,
                due = format('outrider.gate_%s_due', gate_id)::regclass
            where g.id = gate_id;
        end if;
    end if;
    -- What was booked ahead of its time stays so, at another speed.
    perform setval(g.due, coalesce((now + greatest(0, pg_sequence_last_value(g.due) - now)
        * (g.per_second / set_gate.per_second))::bigint, 0))
    from outrider.gate g where g.topic = set_gate.topic;
    update outrider.gate g
    set max_backlog = set_gate.max_backlog, overflow = set_gate.overflow, block_for = set_gate.block_for,
        publish_rate = set_gate.publish_rate, per_second = set_gate.per_second
    where g.topic = set_gate.topic;
    insert into outrider.route (subscription_id, exact_topics, permits)
    select -g.id, array[g.topic], g.permits
    from outrider.gate g
    where g.topic = set_gate.topic and (g.max_backlog is not null or g.per_second is not null)
    on conflict do nothing;
    -- What was read and permitted meant other limits.
    perform setval(g.reading, 0), setval(g.permits, 0) from outrider.gate g where g.topic = set_gate.topic;
end
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- Depths

-- How much is to be delivered to a subscription, without what is due later. Counts to `most` and stops.
create function outrider.depth(subscription int, most bigint) returns bigint
language plpgsql stable
set enable_seqscan = off
set search_path = pg_catalog, pg_temp as $$
begin
    return (select count(*) from (
            select from outrider.delivery d where d.subscription_id = depth.subscription limit most) q)
        + (select count(*) from (
            select from outrider.backlog b where b.subscription_id = depth.subscription limit most) q)
        + (select count(*) from (
            select from outrider.arrival a where a.subscription_id = depth.subscription limit most) q);
end
$$;

-- What is due later, of every subscription.
create function outrider.scheduled_counts() returns table (subscription_id int, count bigint)
language plpgsql stable
set enable_seqscan = on
set search_path = pg_catalog, pg_temp as $$
begin
    return query select s.subscription_id, count(*) from outrider.scheduled s group by s.subscription_id;
end
$$;

-- The depths of the subscriptions that the topics of these gates, or of all, go to; exact up to 10,000 beyond the limit and
-- `beyond`.
create function outrider.gate_depths(gates int[] default null, beyond int default 0)
returns table (gate_id int, subscription_id int, is_plain boolean, depth bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
begin
    return query
    with pair as materialized (
        select g.id, r.subscription_id, r.is_plain, g.max_backlog
        from outrider.gate g
        join outrider.route r
            on r.subscription_id > 0 and outrider.goes_to(g.topic, r.exact_topics, r.topic_expression)
        where g.max_backlog is not null and (gates is null or g.id = any (gates))
    ), counted as materialized (
        select p.subscription_id, outrider.depth(p.subscription_id, max(p.max_backlog)::bigint + 10000 + beyond) as depth
        from pair p group by p.subscription_id
    )
    select p.id, p.subscription_id, p.is_plain, c.depth + coalesce(s.count, 0)
    from pair p
    join counted c on c.subscription_id = p.subscription_id
    left join outrider.scheduled_counts() s on s.subscription_id = p.subscription_id;
end
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- Publishers

-- How many more messages may pass without another look at the backlogs; null when one of them is too deep, to a publisher that has
-- put `wanted` messages into the queue and has not committed. A reading is the milliseconds since 1970, doubled, with 1 more when a
-- publisher took it, and below zero for "full", which a topic never is that drops its oldest.
create function outrider.room(gate outrider.gate, wanted int) returns int
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    said bigint := pg_sequence_last_value(gate.reading);
    at constant bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint * 2;
    -- What an old snapshot shows is no word for others, and such a transaction cannot drop what others have touched.
    tells constant boolean := current_setting('transaction_isolation') = 'read committed';
    -- Little beside the limit: when the leading worker counts next is not known here.
    most constant int := gate.max_backlog / 20;
    deepest bigint := 0;
    found_full boolean;
    pair record;
begin
    if abs(abs(said) - at) < 2000 then
        return case when said < 0 then null when said & 1 = 0 and tells then most else 0 end;
    end if;
    if tells then
        -- Others need not count too.
        perform setval(gate.reading, case when said < 0 then -at - 1 else at + 1 end);
    end if;
    found_full := false;
    for pair in
        select d.subscription_id, d.depth, case when d.is_plain then wanted else 0 end as own
        from outrider.gate_depths(array[gate.id], wanted) d
    loop
        deepest := greatest(deepest, pair.depth);
        found_full := found_full or pair.depth - pair.own >= gate.max_backlog and gate.overflow <> 'drop_oldest';
        if tells and gate.overflow = 'drop_oldest' and pair.depth > gate.max_backlog then
            perform outrider.drop_oldest(gate, pair.subscription_id, least(pair.depth - gate.max_backlog, 10000)::int);
        end if;
    end loop;
    if tells then
        perform setval(gate.reading, case when found_full then -at - 1 else at + 1 end);
    end if;
    return case when found_full then null when tells then greatest(0, least(most, gate.max_backlog - deepest)) else 0 end;
end
$$;

create function outrider.refuse_full(gate outrider.gate, waited interval) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    deepest record;
begin
    select s.name, f.depth into deepest
    from outrider.gate_full f join outrider.subscription s on s.id = f.subscription_id
    where f.gate_id = gate.id order by f.depth desc, s.name limit 1;
    raise exception 'topic % is full: % to deliver', gate.topic, case
            when deepest.name is null then format('a subscription has %s messages or more', gate.max_backlog)
            else format('subscription %s has %s messages', deepest.name, deepest.depth) end
        using errcode = 'OR001',
        detail = format('Its max_backlog is %s%s.', gate.max_backlog, case when gate.overflow = 'block'
            then format('; it was waited for %s s', round(date_part('epoch', waited)::numeric, 1)) end),
        hint = 'Publish it again later. select * from outrider.topic_limits; shows how it fares.';
end
$$;

-- Books messages at a gate's rate, and permits for others, at most `room`, as far as time for them has passed unused. Waits until
-- the first message is due, but not beyond `ends`. `continued`: the same statement has passed some before.
create function outrider.book(gate outrider.gate, wanted int, room int, continued boolean, ends timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    now constant bigint := outrider.nanoseconds();
    -- What was not taken by now is lost. Permits of as much may be left from before: together a tenth of a second's worth.
    oldest constant bigint := now - 50000000;
    -- Nobody can book ten years ahead, which an amount beyond all reason would.
    latest constant bigint := now + 315360000000000000;
    interval_ns constant float8 := 1e9 / gate.per_second;
    span constant bigint := least(ceil(wanted * interval_ns), latest - now)::bigint;
    due bigint := greatest(pg_sequence_last_value(gate.due), oldest);
    spare constant int := greatest(0, least(floor((now - due) / interval_ns) - wanted, room));
    spare_span constant bigint := ceil(spare * interval_ns);
    wait float8 := (due - now) / 1e9;
begin
    if wait > 0 and not continued and clock_timestamp() + make_interval(secs => wait) > ends then
        raise exception 'rate of topic % exceeded: it takes %', gate.topic, gate.publish_rate
            using errcode = 'OR002',
            -- The API's Retry-After is read from this.
            detail = format('It takes the next message in %s s.', ceil(wait * 1000) / 1000),
            hint = format('Publish it again at %s or later%s.', clock_timestamp() + make_interval(secs => wait),
                case when gate.overflow = 'block' then ', or let the topic''s file say a longer block_for' end);
    end if;
    -- One publisher after the other, and in one expression, for nothing may come between it and the end of its lock. Permits are
    -- given where none are left.
    due := case when pg_advisory_lock(1870033019, gate.id) is not null then nullif(
        setval(gate.due, least(latest, greatest(pg_sequence_last_value(gate.due), oldest) + span
            + case when spare > 0 and pg_sequence_last_value(gate.permits) >= 0 and setval(gate.permits, -spare) is not null
                then spare_span else 0 end)),
        case when pg_advisory_unlock(1870033019, gate.id) then 0 end) end;
    if gate.overflow = 'block' and not continued then
        -- Those who looked at the same moment have booked one after the other.
        wait := (due - span - outrider.nanoseconds()) / 1e9;
        if wait > 0 then
            perform pg_sleep(wait);
        end if;
    end if;
end
$$;

-- Lets messages of a topic that was stopped at its gate pass: at once, after a while, or not at all, which is an error. Returns the
-- subscriptions that are not to have them; null for none.
create function outrider.pass(gate outrider.gate, wanted int) returns int[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    began constant timestamptz := clock_timestamp();
    ends timestamptz := began;
    stopped constant int := nullif(current_setting('outrider.gate' || gate.id, true), '');
    held int[];
    -- Any number where there is no `max_backlog`.
    room int := 2147483647;
begin
    if stopped is null then
        return null;
    end if;
    perform set_config('outrider.gate' || gate.id, '', true);
    if current_setting('outrider.exempt', true) = 'on' and (pg_has_role(session_user, 'outrider_worker', 'member')
        or pg_has_role(session_user, (select c.relowner from pg_class c where c.oid = 'outrider.gate'::regclass), 'member'))
    then
        return null;
    end if;
    if gate.overflow = 'block' then
        ends := began + least(gate.block_for, nullif(current_setting('outrider.block_for', true), '')::interval);
    end if;
    if gate.max_backlog is not null then
        room := outrider.room(gate, wanted);
    end if;
    if room is null then
        if gate.overflow = 'drop_newest' then
            room := 0;
            if pg_sequence_last_value(gate.reading) & 1 = 1 or current_setting('transaction_isolation') <> 'read committed' then
                held := array(
                    select d.subscription_id from outrider.gate_depths(array[gate.id], wanted) d
                    where d.depth - case when d.is_plain then wanted else 0 end >= gate.max_backlog);
            else
                held := array(select f.subscription_id from outrider.gate_full f where f.gate_id = gate.id);
            end if;
        else
            loop
                if clock_timestamp() >= ends then
                    perform outrider.refuse_full(gate, clock_timestamp() - began);
                end if;
                perform pg_sleep(least(0.05, date_part('epoch', ends - clock_timestamp())));
                -- The file may have been changed meanwhile.
                select g.* into gate from outrider.gate g where g.id = gate.id;
                exit when gate.max_backlog is null;
                room := outrider.room(gate, wanted);
                exit when room is not null;
            end loop;
        end if;
    end if;
    if gate.per_second is not null then
        perform outrider.book(gate, stopped, room, stopped < wanted, ends);
    elsif room > 0 and pg_sequence_last_value(gate.permits) >= 0 then
        perform setval(gate.permits, -room);
    end if;
    return nullif(held, '{}');
end
$$;

-- Takes messages back from the queue, into which the caller's statement has put those of plain routes, and counts them as dropped.
-- They are among the newest rows: no index leads from a message to its deliveries.
create function outrider.hold(subscriptions int[], topics text[], messages uuid[], queued boolean[]) returns void
language plpgsql volatile
set enable_seqscan = off
set search_path = pg_catalog, pg_temp as $$
declare
    newest constant bigint := coalesce(pg_sequence_last_value('outrider.delivery_id'), 0);
    subscription int;
    wanted uuid[];
    missing bigint;
    reach bigint;
    seen bigint;
    gone bigint;
begin
    insert into outrider.dropped_delivery (topic, subscription_id, reason, count)
    select t.topic, t.subscription_id, 'drop_newest', count(*)
    from unnest(topics, subscriptions) t (topic, subscription_id) group by t.topic, t.subscription_id;
    for subscription, wanted in
        select t.subscription_id, array_agg(t.message_id)
        from unnest(subscriptions, messages, queued) t (subscription_id, message_id, queued)
        where t.queued group by t.subscription_id
    loop
        missing := cardinality(wanted);
        reach := missing * 2 + 64;
        loop
            with top as materialized (
                select d.ctid, d.message_id from outrider.delivery d
                where d.subscription_id = subscription and d.id <= newest
                order by d.id desc limit reach
            ), taken as (
                delete from outrider.delivery where ctid = any (array(
                    select t.ctid from top t join unnest(wanted) w (id) on w.id = t.message_id))
                returning 1
            )
            select (select count(*) from top), (select count(*) from taken) into seen, gone;
            missing := missing - gone;
            exit when missing <= 0 or seen < reach;
            reach := reach * 8;
        end loop;
    end loop;
end
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- The leading worker

-- Gives up the oldest messages of a topic that wait for a subscription, at most `most`: none that a worker has, and
-- none that a person sent again. Returns how many.
create function outrider.drop_oldest(gate outrider.gate, subscription int, most int) returns int
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    total int;
    slots record;
begin
    with candidate as materialized (
        -- By the millisecond of their ids, and within it by the time itself: all of the last one's millisecond are looked at. The
        -- subquery keeps the order, and the lateral one is asked no more often than it must be.
        select c.source, c.at, c.millisecond, m.published_at, c.nth
        from (
            select q.*, substring(uuid_send(q.message_id) for 6) as millisecond
            from (
                select 'delivery' as source, d.ctid as at, d.message_id, coalesce(d.place, d.id) as nth from outrider.delivery d
                where d.subscription_id = drop_oldest.subscription and d.owner is null and not d.replay and not d.redriven
                union all
                select 'scheduled', s.ctid, s.message_id, coalesce(s.place, s.id) from outrider.scheduled s
                where s.subscription_id = drop_oldest.subscription and not s.replay and not s.redriven
                union all
                select 'backlog', b.ctid, b.message_id, b.place from outrider.backlog b
                where b.subscription_id = drop_oldest.subscription and not b.replay and not b.redriven
            ) q
            order by millisecond offset 0
        ) c
        -- The subscription may have other topics.
        join lateral (
            select m.topic, m.published_at from outrider.outbox m where m.id = c.message_id limit 1
        ) m on m.topic = gate.topic
        order by c.millisecond fetch first most rows with ties
    ), victim as materialized (
        select c.source, c.at from candidate c order by c.millisecond, c.published_at, c.nth limit most
    ), ready as (
        delete from outrider.delivery where ctid = any (array(
            select d.ctid from outrider.delivery d
            where d.ctid = any (array(select v.at from victim v where v.source = 'delivery')) and d.owner is null
            for update skip locked))
        returning key, place
    ), later as (
        delete from outrider.scheduled where ctid = any (array(
            select s.ctid from outrider.scheduled s
            where s.ctid = any (array(select v.at from victim v where v.source = 'scheduled'))
            for update skip locked))
        returning key, place
    ), waiting as (
        delete from outrider.backlog where ctid = any (array(
            select b.ctid from outrider.backlog b
            where b.ctid = any (array(select v.at from victim v where v.source = 'backlog'))
            for update skip locked))
        returning 1
    ), out_of_queue as (
        select r.key, r.place from ready r union all select l.key, l.place from later l
    )
    select (select count(*) from out_of_queue) + (select count(*) from waiting) as dropped,
        array_agg(o.key) filter (where o.place is not null) as keys,
        array_agg(o.place) filter (where o.place is not null) as places
    into slots from out_of_queue o;
    total := slots.dropped;
    if total > 0 then
        insert into outrider.dropped_delivery (topic, subscription_id, reason, count)
        values (gate.topic, drop_oldest.subscription, 'drop_oldest', total);
    end if;
    if slots.keys is not null then
        perform outrider.advance(array_fill(drop_oldest.subscription, array[cardinality(slots.keys)]), slots.keys, slots.places);
    end if;
    return total;
end
$$;

-- Whether backlogs are to be counted: not while nothing has come into the queue since they were empty.
create function outrider.has_backlogs() returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
begin
    return exists (select from outrider.gate g where g.max_backlog is not null)
        and ((select s.last_value from outrider.gates_seen s) <> (select d.last_value from outrider.delivery_id d)
            or exists (select from outrider.scheduled) or exists (select from outrider.key_check));
end
$$;

-- Takes a reading of all backlogs, and makes room where the oldest messages are to go, at most `most` for each. Says what has
-- changed: subscriptions that are `full` now, or `open` again, and what was `dropped`.
create function outrider.tend_gates(most int default 1000)
returns table (event text, topic text, subscription text, overflow text, depth bigint, count int)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp as $$
declare
    reached constant bigint := (select d.last_value from outrider.delivery_id d);
    -- Whether all that drew ids until then has ended, so that what it brought is seen.
    is_settled constant boolean := (
        select pg_snapshot_xmin(s) = pg_snapshot_xmax(s) from pg_current_snapshot() s);
    gates int[];
    subscriptions int[];
    depths bigint[];
    excess record;
begin
    select array_agg(d.gate_id), array_agg(d.subscription_id), array_agg(d.depth) into gates, subscriptions, depths
    from outrider.gate_depths() d;
    return query
    with full_up as materialized (
        select t.gate_id, t.subscription_id, t.depth
        from unnest(gates, subscriptions, depths) t (gate_id, subscription_id, depth)
        join outrider.gate g on g.id = t.gate_id
        where t.depth >= g.max_backlog + (g.overflow = 'drop_oldest')::int
    ), opened as (
        delete from outrider.gate_full f
        where not exists (
            select from full_up u where u.gate_id = f.gate_id and u.subscription_id = f.subscription_id)
        returning f.gate_id, f.subscription_id
    ), filled as (
        insert into outrider.gate_full as f (gate_id, subscription_id, depth)
        select u.gate_id, u.subscription_id, u.depth from full_up u
        on conflict do nothing
        returning f.gate_id, f.subscription_id, f.depth
    ), changed as (
        select 'open' as event, o.gate_id, o.subscription_id, null::bigint as depth from opened o
        union all
        select 'full', f.gate_id, f.subscription_id, f.depth from filled f
    )
    select c.event, g.topic, s.name, g.overflow, c.depth, 0
    from changed c
    join outrider.gate g on g.id = c.gate_id
    join outrider.subscription s on s.id = c.subscription_id;
    for excess in
        select g as gate, t.subscription_id, s.name, t.depth - g.max_backlog as count
        from unnest(gates, subscriptions, depths) t (gate_id, subscription_id, depth)
        join outrider.gate g on g.id = t.gate_id
        join outrider.subscription s on s.id = t.subscription_id
        where g.overflow = 'drop_oldest' and t.depth > g.max_backlog
    loop
        count := outrider.drop_oldest(excess.gate, excess.subscription_id, least(excess.count, most)::int);
        event := 'dropped';
        topic := (excess.gate).topic;
        subscription := excess.name;
        overflow := (excess.gate).overflow;
        depth := null;
        if count > 0 then
            return next;
        end if;
    end loop;
    perform setval(q.reading, (date_part('epoch', clock_timestamp()) * 1000)::bigint * case when q.is_full then -2 else 2 end),
        case when q.is_full then setval(q.permits, 0) end
    from (
        select g.reading, g.permits,
            g.overflow <> 'drop_oldest' and exists (select from outrider.gate_full f where f.gate_id = g.id) as is_full
        from outrider.gate g where g.max_backlog is not null
    ) q;
    perform setval('outrider.gates_seen',
        case when is_settled and not exists (select from unnest(depths) d where d > 0) then reached else 0 end);
end
$$;

-- Adds up what was dropped, at most ten times `most` rows of it. Returns how many rows that saved.
create function outrider.fold_dropped(most int) returns int
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    saved int;
begin
    if not exists (
        select from outrider.dropped_delivery d group by d.topic, d.subscription_id, d.reason having count(*) > 1)
    then
        return 0;
    end if;
    with gone as (
        delete from outrider.dropped_delivery where id = any (array(
            select d.id from outrider.dropped_delivery d order by d.id limit most::bigint * 10 for update skip locked))
        returning *
    ), sums as (
        insert into outrider.dropped_delivery (topic, subscription_id, reason, count, at)
        select g.topic, g.subscription_id, g.reason, sum(g.count), max(g.at)
        from gone g group by g.topic, g.subscription_id, g.reason
        returning 1
    )
    select (select count(*) from gone) - (select count(*) from sums) into saved;
    return saved;
end
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- Views

create view outrider.dropped as
select d.topic, s.name as subscription, d.reason, sum(d.count)::bigint as count, max(d.at) as last_at
from outrider.dropped_delivery d
join outrider.subscription s on s.id = d.subscription_id
group by d.topic, s.name, d.reason;

create view outrider.topic_limits as
with depth as (
    select q.subscription_id, count(*) as depth from outrider.queued q group by q.subscription_id
)
select g.topic, g.max_backlog, g.overflow, case g.overflow when 'block' then g.block_for end as block_for,
    g.publish_rate, coalesce(deepest.depth, 0) as backlog, deepest.name as deepest_subscription,
    coalesce(deepest.depth >= g.max_backlog, false) as is_full,
    (select min(f.since) from outrider.gate_full f where f.gate_id = g.id) as full_since,
    coalesce((select sum(d.count) from outrider.dropped_delivery d where d.topic = g.topic), 0)::bigint as dropped
from outrider.gate g
left join lateral (
    select s.name, coalesce(d.depth, 0) as depth
    from outrider.route r
    join outrider.subscription s on s.id = r.subscription_id
    left join depth d on d.subscription_id = r.subscription_id
    where r.subscription_id > 0 and (g.topic = any (r.exact_topics) or g.topic ~ r.topic_expression)
    order by d.depth desc nulls last, s.name limit 1
) deepest on true
where g.max_backlog is not null or g.publish_rate is not null;
