-- Workers, what their tries came to, and what they could not deliver.

create table outrider.worker (
    token uuid primary key,
    -- The second key of the advisory lock (1870033011, id) that the worker's session holds for as long as it lives.
    id int generated always as identity,
    name text not null,
    version text not null,
    backend_pid int not null default pg_backend_pid(),
    -- Of the session that beats, and leads where it holds the lead.
    beat_pid int,
    subscriptions int[] not null default '{}',
    started_at timestamptz not null default clock_timestamp(),
    seen_at timestamptz not null default clock_timestamp(),
    lease interval not null,
    in_flight int not null default 0,
    draining boolean not null default false
) with (fillfactor = 50);

create table outrider.delivery_attempt (
    message_id uuid not null,
    subscription_id int not null,
    attempt int not null,
    at timestamptz not null,
    -- succeeded, failed, refused, ongoing, late, rescued
    outcome text not null,
    status int,
    duration interval,
    error text,
    worker text not null
) with (autovacuum_vacuum_insert_scale_factor = 0.1);
create index delivery_attempt_message on outrider.delivery_attempt (message_id);
create index delivery_attempt_at on outrider.delivery_attempt using brin (at);

create table outrider.dead_letter (
    id uuid primary key default outrider.uuid_v7(),
    kind text not null default 'message' check (kind in ('message', 'step', 'compensation')),
    subscription_id int,
    subscription text,
    saga_id uuid,
    step text,
    message_id uuid,
    topic text,
    key text,
    payload jsonb,
    headers jsonb,
    published_at timestamptz,
    -- Set when its key waits for it (`on_exhausted: block`); see 006.
    held_key bigint,
    held_place bigint,
    attempts int not null,
    first_tried_at timestamptz,
    dead_at timestamptz not null default clock_timestamp(),
    reason text not null,
    last_error text,
    -- Every error that was recorded of it: [{"attempt", "at", "status", "error", "worker"}].
    errors jsonb not null default '[]',
    redriven_at timestamptz,
    redriven_by text,
    discarded_at timestamptz,
    discarded_by text,
    discard_reason text,
    -- The message that was sent again: this one, or its copy with another payload.
    redriven_as uuid,
    -- The letter whose redrive ended as this one.
    redrive_of uuid
) with (autovacuum_vacuum_insert_scale_factor = 0.1);
-- By name, for the views' readers; ids go with the time of death. With it a subscription's open letters are counted, listed and
-- gone through without a look at those of others, nor, once vacuum has been there, at the letters themselves.
create index dead_letter_open on outrider.dead_letter (subscription, id)
    where redriven_at is null and discarded_at is null;
create index dead_letter_message on outrider.dead_letter (message_id);
create index dead_letter_saga on outrider.dead_letter (saga_id) where saga_id is not null;
create index dead_letter_redriven on outrider.dead_letter (redriven_as) where redriven_as is not null;
create index dead_letter_closed on outrider.dead_letter (greatest(redriven_at, discarded_at))
    where redriven_at is not null or discarded_at is not null;

-- Messages of the log that nobody published: copies of dead letters' with another payload, for one subscription.
create table outrider.edited_message (
    message_id uuid primary key,
    dead_letter uuid not null,
    -- What was published: the first of the chain, when a copy was edited once more.
    original_id uuid not null,
    at timestamptz not null default clock_timestamp(),
    by text not null
);

-- What the leading worker carries out in bounded transactions: redrive_all, discard_all, replay, and the opening of a
-- subscription that begins with messages from before it was applied.
create table outrider.operation (
    id uuid primary key default outrider.uuid_v7(),
    kind text not null check (kind in ('redrive', 'discard', 'replay', 'open')),
    subscription_id int not null,
    subscription text not null,
    from_time timestamptz,
    to_time timestamptz,
    key text,
    topic text,
    -- Why letters are discarded.
    reason text,
    created_at timestamptz not null default clock_timestamp(),
    created_by text not null default session_user,
    -- begin: an opening looks for the transactions that may not see its subscription; wait: until they have ended; letters: of
    -- a redrive or discard; log: the messages; done
    phase text not null,
    waits_for text[],
    -- Where the next step goes on, null before the first step: the last letter that was looked at; up to which time the log was.
    cursor uuid,
    reached_at timestamptz,
    done bigint not null default 0,
    -- Letters that were open when it was ordered.
    total bigint,
    -- What whoever ordered it should know.
    note text,
    cancelled_by text,
    error text,
    finished_at timestamptz
);
create index operation_open on outrider.operation (created_at) where finished_at is null;

-- ---------------------------------------------------------------------------------------------------------------
-- Ends of a delivery

-- Writes the dead letter of a delivery: its own copy of the message and every error that was seen. One with a place holds its
-- key up where the subscription says so; else the caller lets the key advance.
create function outrider.bury(
    subscription_id int, message_id uuid, attempts int, first_tried_at timestamptz, reason text, last_error text,
    key bigint default null, place bigint default null
) returns uuid
language sql volatile
set search_path = pg_catalog, pg_temp as $$
    insert into outrider.dead_letter (subscription_id, subscription, message_id, topic, key, payload, headers,
        published_at, held_key, held_place, attempts, first_tried_at, reason, last_error, redrive_of, errors)
    select bury.subscription_id, s.name, bury.message_id, m.topic, m.key, m.payload, m.headers, m.published_at,
        case when s.blocks then bury.key end, case when s.blocks then bury.place end, bury.attempts, bury.first_tried_at,
        bury.reason, bury.last_error,
        (select d.id from outrider.dead_letter d
            where d.redriven_as = bury.message_id and d.subscription_id = bury.subscription_id
            order by d.redriven_at desc limit 1),
        coalesce((select jsonb_agg(jsonb_build_object('attempt', a.attempt, 'at', a.at, 'status', a.status,
                'error', a.error, 'worker', a.worker) order by a.at)
            from outrider.delivery_attempt a
            where a.message_id = bury.message_id and a.subscription_id = bury.subscription_id
                and a.outcome <> 'succeeded'), '[]')
    from (select) one
    left join outrider.subscription s on s.id = bury.subscription_id
    left join outrider.outbox m on m.id = bury.message_id
    returning id
$$;

-- Publishes a handler's answer. To a topic with keyed subscriptions it is due at once, instead of ready: a publisher would
-- wait for the key's lane, and this is a worker, on which all others wait.
create function outrider.publish_reply(topic text, key text, payload jsonb, headers jsonb) returns void
language sql volatile
set search_path = pg_catalog, pg_temp as $$
    insert into outrider.outbox (topic, key, payload, headers, deliver_at)
    select publish_reply.topic, publish_reply.key, publish_reply.payload, publish_reply.headers,
        case when exists (select from outrider.route r
            where not r.is_plain and outrider.goes_to(publish_reply.topic, r.exact_topics, r.topic_expression))
        then now() + interval '1 microsecond' end
$$;

-- Publishes a handler's answer in the transaction that acknowledges the message it answers. What the log refuses, such as a
-- topic that is full, must not keep the handler's success from being recorded, nor be lost: the message becomes a dead letter.
-- Returns whether it was published.
create function outrider.reply(
    subscription_id int, message_id uuid, attempts int, topic text, key text, payload jsonb, headers jsonb
) returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
begin
    perform outrider.publish_reply(reply.topic, reply.key, reply.payload, reply.headers);
    return true;
exception when others then
    if left(sqlstate, 2) in ('40', '53', '55', '57', '58') then
        raise;  -- it will pass, and the whole transaction be tried again
    end if;
    perform outrider.bury(reply.subscription_id, reply.message_id, reply.attempts, null, 'reply', sqlerrm);
    return false;
end
$$;

-- Takes over what a worker had in flight: its rows are ready again, at the end of the queue, and count one rescue more.
-- A delivery that was taken over five times may be what kills its workers: it is tried at a time of its own, away from the
-- others, and after the sixth time it is dead. Of sagas the engine takes care: see the head of 004. Returns how many rows were
-- taken over.
create function outrider.rescue(dead uuid) returns int
language plpgsql volatile
-- The one place that looks for rows by owner: the whole queue is read, in order of its pages.
set enable_seqscan = on
set search_path = pg_catalog, pg_temp as $$
declare
    worker_name text;
    rescued int;
    to_wake int[];
    buried outrider.delivery[];
begin
    -- A claim holds a share of its worker's row until it commits, so that none is made that this would not see.
    perform from outrider.worker w where w.token = dead for update skip locked;
    if not found then
        return 0;  -- it is claiming, or another worker was faster
    end if;
    delete from outrider.worker w where w.token = dead returning w.name into worker_name;
    -- First the trace, so that a dead letter that the next statement writes finds all of it.
    with held as (
        select d.* from outrider.delivery d where d.owner = dead for update
    )
    insert into outrider.delivery_attempt (message_id, subscription_id, attempt, at, outcome, error, worker)
    select h.message_id, h.subscription_id, h.attempts + 1, clock_timestamp(), 'rescued',
        'the worker was lost while it had this delivery', worker_name
    from held h where h.subscription_id > 0;
    with taken as (
        delete from outrider.delivery d where d.owner = dead
        returning d.*
    ), again as (
        insert into outrider.delivery
            (subscription_id, attempts, rescues, replay, redriven, message_id, first_tried_at, key, place)
        select t.subscription_id, t.attempts, case when t.rescues < 0 then -t.rescues else t.rescues + 1 end, t.replay,
            t.redriven, t.message_id, t.first_tried_at, t.key, t.place
        from taken t where t.rescues < 4 or t.subscription_id < 0
        order by t.id
    ), alone as (
        insert into outrider.scheduled
            (due_at, subscription_id, attempts, rescues, replay, redriven, message_id, first_tried_at, key, place)
        select now() + interval '2 seconds' * row_number() over (order by t.id), t.subscription_id, t.attempts,
            t.rescues + 1, t.replay, t.redriven, t.message_id, t.first_tried_at, t.key, t.place
        from taken t where t.rescues = 4 and t.subscription_id > 0
    )
    select count(*), array_agg(distinct t.subscription_id), array_agg(t) filter (where t.rescues > 4 and t.place is not null),
        count(outrider.bury(t.subscription_id, t.message_id, t.attempts, t.first_tried_at, 'abandoned',
            'six workers in a row were lost while they had this delivery', t.key, t.place))
            filter (where t.rescues > 4 and t.subscription_id > 0)
    into rescued, to_wake, buried
    from taken t;
    perform outrider.advance(array_agg(b.subscription_id), array_agg(b.key), array_agg(b.place))
    from unnest(buried) b join outrider.subscription s on s.id = b.subscription_id and not s.blocks;
    perform outrider.wake(to_wake);
    return rescued;
end
$$;

-- Ends the sessions of a worker that is frozen, cut off, or dead with a statement still at work: their locks would keep
-- others from leading, from sleeping, and from taking over what it had.
create function outrider.hang_up(worker_id int, beat_pid int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_terminate_backend(l.pid)
    from pg_locks l
    where l.locktype = 'advisory' and l.database = (select d.oid from pg_database d where d.datname = current_database())
        and l.granted and l.pid <> pg_backend_pid()
        and (l.classid in (1870033011, 1870033014) and l.objid = worker_id::oid
            or l.classid = 1870033012 and l.pid = hang_up.beat_pid);
exception
    when insufficient_privilege then null;  -- sessions of another role; TCP's keepalives will end them
end
$$;

-- Moves what came due into the queue, at most `most` rows, so that one transaction stays short; and tends the keys whose time it
-- is. Returns how many rows were moved.
create function outrider.move_due(most int default 1000) returns int
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    moved int;
    to_wake int[];
    arrived int;
begin
    with due as (
        delete from outrider.scheduled where id = any (array(
            select s.id from outrider.scheduled s where s.due_at <= now() order by s.due_at limit most
            for update skip locked))
        returning *
    ), arriving as (
        -- A delayed message joins the end of its key now.
        insert into outrider.arrival (subscription_id, key, is_old, replay, redriven, message_id)
        select d.subscription_id, d.key, false, d.replay, d.redriven, d.message_id
        from due d where d.key is not null and d.place is null order by d.due_at
        returning 1
    ), ready as (
        insert into outrider.delivery
            (subscription_id, attempts, rescues, replay, redriven, message_id, first_tried_at, key, place)
        select d.subscription_id, d.attempts, d.rescues, d.replay, d.redriven, d.message_id, d.first_tried_at, d.key, d.place
        from due d where d.key is null or d.place is not null order by d.due_at
    )
    select count(*), array_agg(distinct d.subscription_id), (select count(*) from arriving) into moved, to_wake, arrived
    from due d;
    perform outrider.wake(to_wake);
    perform outrider.expect_arrivals() where arrived > 0;
    if exists (select from outrider.key_check c where c.due_at <= clock_timestamp()) then
        perform outrider.tend_keys(most);
    end if;
    return moved;
end
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- The beat of a worker

-- One round trip, about twice a second, that keeps a worker alive and finds what no notification told:
--   alive       false when another worker took this one's deliveries over: it must begin anew
--   leads       whether the caller's session leads: it tries for the lock when it does not hold it yet
--   peers       how many other workers there are
--   rescued     deliveries that were taken over from workers that are gone
--   ready       the subscriptions with claimable rows above the caller's floor: the net under lost notifications
--   stranded    those with claimable rows below it, looked for only when `sweep` is asked for: the net under the floor
--   due_in      how long until the next scheduled delivery comes due, or a key is to be tended
--   operations  whether an operation waits to be carried out
--   unsettled   whether slots of keys are to be settled
--   epoch       changes with every apply, pause and resume
--
-- A worker is gone when its session no longer holds its lock, or when it was not seen for its lease although it holds the
-- lock (a frozen process, a partitioned host). The second counts only once the caller itself has been connected for
-- as long: after an outage of the database nobody was seen, and nobody must be rescued for it.
create function outrider.beat(
    me uuid, connected_for interval, in_flight int, draining boolean, lead boolean, sweep boolean,
    served int[], floors bigint[]
) returns table (alive boolean, leads boolean, peers int, rescued int, ready int[], stranded int[], due_in interval,
    operations boolean, unsettled boolean, epoch text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    other outrider.worker;
begin
    rescued := 0;
    peers := 0;
    alive := exists (select from outrider.worker w where w.token = me);
    if alive then
        -- Not every time: each update leaves a dead row version behind.
        update outrider.worker w
        set seen_at = clock_timestamp(), in_flight = beat.in_flight, draining = beat.draining, subscriptions = beat.served,
            beat_pid = pg_backend_pid()
        where w.token = me and (w.seen_at < clock_timestamp() - w.lease / 8 or w.draining <> beat.draining
            or w.subscriptions <> beat.served or w.beat_pid is distinct from pg_backend_pid());
    end if;
    for other in select w.* from outrider.worker w where w.token <> me loop
        if pg_try_advisory_xact_lock(1870033011, other.id) then
            rescued := rescued + outrider.rescue(other.token);
            if exists (select from outrider.worker w where w.token = other.token) then
                -- Something of it is still at work.
                perform outrider.hang_up(other.id, null);
            end if;
        elsif other.seen_at < clock_timestamp() - other.lease and connected_for > other.lease then
            rescued := rescued + outrider.rescue(other.token);
            perform outrider.hang_up(other.id, other.beat_pid);
        else
            peers := peers + 1;
        end if;
    end loop;
    leads := lead or pg_try_advisory_lock(1870033012, 0);
    ready := array(
        select s.id from unnest(served, floors) s (id, floor)
        where exists (
            select from outrider.delivery d where d.subscription_id = s.id and d.id > s.floor and d.owner is null));
    stranded := case when sweep then array(
        select s.id from unnest(served, floors) s (id, floor)
        where exists (
            select from outrider.delivery d where d.subscription_id = s.id and d.id <= s.floor and d.owner is null)) end;
    due_in := least((select min(s.due_at) from outrider.scheduled s), (select min(c.due_at) from outrider.key_check c)) - now();
    operations := exists (select from outrider.operation o where o.finished_at is null);
    unsettled := leads and outrider.has_unsettled_slots();
    epoch := (select concat(max(d.applied_at), count(*)) from outrider.definition d)
        || (select concat(max(s.id), count(s.paused_at), max(s.paused_at), count(*), count(s.removed_at),
                count(*) filter (where s.opening))
            from outrider.subscription s);
    return next;
end
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- Housekeeping

-- Makes dead letters of what removed subscriptions have in the queue, at most `most` at once: what they had when they were
-- removed, and what transactions brought later that did not see the removal. Returns how many.
create function outrider.bury_removed(most int default 5000) returns int
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    gone int[] := array(select s.id from outrider.subscription s where s.removed_at is not null);
    buried int;
begin
    with ready as (
        delete from outrider.delivery where ctid = any (array(
            select d.ctid from outrider.delivery d where d.subscription_id = any (gone) limit most for update skip locked))
        returning *
    ), later as (
        delete from outrider.scheduled where ctid = any (array(
            select s.ctid from outrider.scheduled s where s.subscription_id = any (gone) limit most
            for update skip locked))
        returning *
    ), waiting as (
        delete from outrider.backlog where ctid = any (array(
            select b.ctid from outrider.backlog b where b.subscription_id = any (gone) limit most for update skip locked))
        returning *
    ), arriving as (
        delete from outrider.arrival where ctid = any (array(
            select a.ctid from outrider.arrival a where a.subscription_id = any (gone) limit most for update skip locked))
        returning *
    ), undelivered as (
        select r.subscription_id, r.message_id, r.attempts, r.first_tried_at from ready r
        union all
        select l.subscription_id, l.message_id, l.attempts, l.first_tried_at from later l
        union all
        select w.subscription_id, w.message_id, 0, null from waiting w
        union all
        select a.subscription_id, a.message_id, 0, null from arriving a
    )
    select count(outrider.bury(u.subscription_id, u.message_id, u.attempts, u.first_tried_at, 'removed',
        'the subscription was removed before it was delivered'))
    into buried
    from undelivered u;
    delete from outrider.active_slot a using unnest(gone) g where a.lane between g << 8 and (g << 8) + 255;
    delete from outrider.held_slot h where h.subscription_id = any (gone);
    delete from outrider.key_check c where c.subscription_id = any (gone);
    delete from outrider.lane_floor f using unnest(gone) g where f.lane between g << 8 and (g << 8) + 255;
    return buried;
end
$$;

-- Removes what has outlived its purpose from the tables that are not partitioned, at most `most` rows of each: recorded
-- tries after 7 days, dead letters 30 days after they were redriven or discarded, firings of schedules after 30 days. An open dead letter stays.
create function outrider.prune(most int default 5000) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    longest interval := greatest((select max(t.retention) from outrider.topic t), interval '1 day');
    removed int;
    total int := 0;
    outlived tid[];
begin
    delete from outrider.dedupe where ctid = any (array(
        select d.ctid from outrider.dedupe d where d.expires_at < now() limit most for update skip locked));
    get diagnostics removed = row_count;
    total := total + removed;
    delete from outrider.chosen_id where ctid = any (array(
        select c.ctid from outrider.chosen_id c
        where c.at < now() - longest - interval '2 days'
            and not exists (select from outrider.outbox o where o.id = c.id)
        order by c.at limit most));
    get diagnostics removed = row_count;
    total := total + removed;
    -- The default partition is not dropped by time: its rows go one by one once they are delivered and past retention. They
    -- are locked first and looked at again with a new snapshot, for a redrive may have wanted one in between.
    outlived := array(
        select m.ctid from outrider.outbox_default m
        left join outrider.topic t on t.name = m.topic
        where m.published_at < now() - coalesce(t.retention, interval '1 day')
            and not exists (select from outrider.delivery d where d.message_id = m.id)
            and not exists (select from outrider.scheduled s where s.message_id = m.id)
            and not exists (select from outrider.backlog b where b.message_id = m.id)
            and not exists (select from outrider.arrival a where a.message_id = m.id)
        limit most for update of m skip locked);
    with gone as (
        delete from outrider.outbox_default m
        where m.ctid = any (outlived)
            and not exists (select from outrider.delivery d where d.message_id = m.id)
            and not exists (select from outrider.scheduled s where s.message_id = m.id)
            and not exists (select from outrider.backlog b where b.message_id = m.id)
            and not exists (select from outrider.arrival a where a.message_id = m.id)
        returning m.topic, m.published_at
    ), noted as (
        insert into outrider.dropped_partition as p (name, lower_at, upper_at, topics)
        select 'outbox_default', '-infinity', max(g.published_at), array_agg(distinct g.topic) from gone g having count(*) > 0
        on conflict (name) do update set upper_at = greatest(p.upper_at, excluded.upper_at), dropped_at = excluded.dropped_at,
            topics = array(select distinct t from unnest(p.topics || excluded.topics) t)
    )
    select count(*) into removed from gone;
    total := total + removed;
    delete from outrider.edited_message where ctid = any (array(
        select e.ctid from outrider.edited_message e
        where e.at < now() - longest - interval '2 days'
            and not exists (select from outrider.outbox o where o.id = e.message_id)
        limit most));
    get diagnostics removed = row_count;
    total := total + removed;
    delete from outrider.cancelled_message where ctid = any (array(
        select c.ctid from outrider.cancelled_message c where c.at < now() - longest - interval '2 days' limit most));
    get diagnostics removed = row_count;
    total := total + removed;
    delete from outrider.delivery_attempt where ctid = any (array(
        select a.ctid from outrider.delivery_attempt a
        where a.at < now() - greatest(longest, interval '7 days')
            and not exists (select from outrider.scheduled s where s.message_id = a.message_id)
        limit most));
    get diagnostics removed = row_count;
    total := total + removed;
    delete from outrider.dead_letter where ctid = any (array(
        select d.ctid from outrider.dead_letter d
        where (d.redriven_at is not null or d.discarded_at is not null)
            and greatest(d.redriven_at, d.discarded_at) < now() - interval '30 days' limit most));
    get diagnostics removed = row_count;
    total := total + removed;
    delete from outrider.operation where finished_at < now() - interval '30 days';
    delete from outrider.schedule_firing where ctid = any (array(
        select f.ctid from outrider.schedule_firing f where f.fired_at < now() - interval '30 days' limit most));
    get diagnostics removed = row_count;
    total := total + removed;
    return total + outrider.prune_sagas(most) + outrider.fold_dropped(most);
end
$$;
