-- What a person does to messages: take back, redrive, discard, replay, pause. And the views that show everything.

create function outrider.subscription_id(subscription text) returns int
language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
    found_id int;
begin
    select s.id into found_id from outrider.subscription s
    where s.name = subscription_id.subscription and s.removed_at is null;
    if found_id is null then
        raise exception 'there is no subscription %', quote_nullable(subscription) using errcode = 'OR007',
            hint = 'select name from outrider.subscriptions; lists them.';
    end if;
    return found_id;
end
$$;

-- Tells workers to read definitions and pauses anew.
create function outrider.announce() returns void
language sql volatile
set search_path = pg_catalog, pg_temp as $$
    select pg_notify('outrider_wake', 'definitions')
$$;

-- All that is still to be delivered.
create view outrider.queued as
select d.subscription_id, d.message_id from outrider.delivery d
union all
select s.subscription_id, s.message_id from outrider.scheduled s
union all
select b.subscription_id, b.message_id from outrider.backlog b
union all
select a.subscription_id, a.message_id from outrider.arrival a;

create function outrider.cancel_message(id uuid) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    taken outrider.delivery[];
    later int;
    waiting int;
    arriving int;
begin
    -- Rows that a worker is claiming at this moment are as good as sent; what was redriven, replayed or taken over from a lost
    -- worker may have been.
    with ready as (
        delete from outrider.delivery where ctid = any (array(
            select d.ctid from outrider.delivery d
            where d.message_id = cancel_message.id and d.owner is null and d.first_tried_at is null and d.rescues = 0
                and not d.replay and not d.redriven
            for update skip locked))
        returning *
    )
    select array_agg(r) into taken from ready r;
    delete from outrider.scheduled where ctid = any (array(
        select s.ctid from outrider.scheduled s
        where s.message_id = cancel_message.id and s.first_tried_at is null and s.rescues = 0
            and not s.replay and not s.redriven
        for update skip locked));
    get diagnostics later = row_count;
    delete from outrider.backlog where ctid = any (array(
        select b.ctid from outrider.backlog b
        where b.message_id = cancel_message.id and not b.replay and not b.redriven for update skip locked));
    get diagnostics waiting = row_count;
    delete from outrider.arrival where ctid = any (array(
        select a.ctid from outrider.arrival a
        where a.message_id = cancel_message.id and not a.replay and not a.redriven for update skip locked));
    get diagnostics arriving = row_count;
    if taken is null and later + waiting + arriving = 0 then
        return false;
    end if;
    perform outrider.advance(array_agg(t.subscription_id), array_agg(t.key), array_agg(t.place))
    from unnest(taken) t where t.place is not null having count(*) > 0;
    insert into outrider.cancelled_message (message_id) values (cancel_message.id) on conflict do nothing;
    return true;
end
$$;

create function outrider.pause(subscription text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
    update outrider.subscription s
    set paused_at = coalesce(s.paused_at, clock_timestamp()), paused_by = coalesce(s.paused_by, session_user)
    where s.id = outrider.subscription_id(pause.subscription);
    perform outrider.announce();
end
$$;

create function outrider.resume(subscription text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
    update outrider.subscription s
    set paused_at = null, paused_by = null
    where s.id = outrider.subscription_id(resume.subscription);
    perform outrider.announce();
end
$$;

-- Locks an open dead letter, or says why that cannot be. That of a saga is not locked: its engine closes it, and waits for
-- nobody.
create function outrider.open_letter(letter uuid) returns outrider.dead_letter
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    found_letter outrider.dead_letter;
begin
    select d.* into found_letter from outrider.dead_letter d where d.id = letter and d.kind = 'message' for update;
    if not found then
        select d.* into found_letter from outrider.dead_letter d where d.id = letter;
    end if;
    if found_letter.id is null then
        raise exception 'there is no dead letter %', letter using errcode = 'OR007',
            hint = 'select id, subscription, dead_at from outrider.dead_letters; lists them.';
    elsif found_letter.redriven_at is not null then
        raise exception 'dead letter % was redriven at % by %', letter, found_letter.redriven_at, found_letter.redriven_by
            using errcode = 'OR006', hint = format('If it failed again there is a newer letter of the same %s.',
                case found_letter.kind when 'message' then 'message_id' else 'saga_id' end);
    elsif found_letter.discarded_at is not null then
        raise exception 'dead letter % was discarded at % by %', letter, found_letter.discarded_at,
            found_letter.discarded_by using errcode = 'OR006', hint = 'Publish the payload anew if it is wanted after all.';
    end if;
    return found_letter;
end
$$;

-- The partition that holds, or would hold, a message. What is inserted into it and not into the log itself is routed to nobody.
create function outrider.partition_of(message uuid) returns text
language sql stable
set search_path = pg_catalog, pg_temp as $$
    select coalesce((select p.name from outrider.outbox_partition p
        where message >= outrider.uuid_v7_floor(p.lower_at) and message < outrider.uuid_v7_floor(p.upper_at)), 'outbox_default')
$$;

-- Brings the message of a letter back into the log, which has dropped it: into its partition, without the parent's trigger,
-- which would route it to every subscription.
create function outrider.restore(letter outrider.dead_letter) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('outrider.moving', 'on', true);
    execute format(
        'insert into outrider.%I (id, topic, key, payload, headers, published_at)
         values ($1.message_id, $1.topic, $1.key, $1.payload, $1.headers, $1.published_at) on conflict do nothing',
        outrider.partition_of(letter.message_id)) using letter;
    perform set_config('outrider.moving', '', true);
end
$$;

-- Writes a copy of a letter's message with another payload into the log, where the original stays as it was. It is another
-- message, for it has another effect: a handler that did half of the first one must not take it for the same. Replays leave it
-- out: nobody published it.
create function outrider.edit_letter(letter outrider.dead_letter, payload jsonb) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    copy uuid := outrider.uuid_v7();
    original uuid := coalesce(
        (select e.original_id from outrider.edited_message e where e.message_id = letter.message_id), letter.message_id);
begin
    execute format('insert into outrider.%I (id, topic, key, payload, headers) values ($1, $2, $3, $4, $5)',
        outrider.partition_of(copy))
        using copy, letter.topic, letter.key, edit_letter.payload,
            coalesce(letter.headers, '{}') || jsonb_build_object('original-id', original, 'redrive-of', letter.id);
    insert into outrider.edited_message (message_id, dead_letter, original_id, by)
    values (copy, letter.id, original, session_user);
    update outrider.dead_letter d set redriven_as = copy where d.id = letter.id;
end
$$;

-- Those of the messages that a subscription is still to get. The queue has no index by message: all that the subscription has
-- in it is read, once for all the messages, whatever the planner thinks of their number.
create function outrider.queued_of(subscription_id int, messages uuid[]) returns uuid[]
language plpgsql stable
set enable_nestloop = off
set search_path = pg_catalog, pg_temp as $$
begin
    return case when cardinality(messages) > 0 then array(
        select q.message_id from outrider.queued q
        where q.subscription_id = queued_of.subscription_id and q.message_id in (select unnest(messages))) else '{}' end;
end
$$;

-- Those messages of the letters that are in the queue again. Only a replay, or another letter of the same message, can have
-- brought one there since it died: the queue is read for these alone.
create function outrider.queued_again(letters uuid[]) returns uuid[]
language plpgsql stable
set enable_seqscan = off
set search_path = pg_catalog, pg_temp as $$
declare
    suspects uuid[] := array(
        select d.message_id from outrider.dead_letter d
        join outrider.dead_letter p on p.redriven_as = any (array[d.message_id])
        where d.id = any (letters) and d.redriven_as is null
            and p.subscription_id = d.subscription_id and p.redriven_at >= d.dead_at
        union
        select d.message_id from outrider.dead_letter d
        join outrider.operation o on o.subscription_id = d.subscription_id
        where d.id = any (letters) and d.redriven_as is null
            and o.kind in ('replay', 'open') and (o.finished_at is null or o.finished_at >= d.dead_at));
begin
    return outrider.queued_of((select d.subscription_id from outrider.dead_letter d where d.id = any (letters) limit 1), suspects);
end
$$;

-- Puts the messages of letters, all of one subscription and locked by the caller, back into its queue, with their ids: a
-- handler that did succeed recognises the idempotency key. Of an edited one it is the copy. What is in the queue already is not
-- put there twice. A message that its key waits for takes its place again; others of a keyed subscription join the end of their
-- keys.
create function outrider.requeue(letters uuid[], by text) returns void
language plpgsql volatile security definer
set enable_seqscan = off
set search_path = pg_catalog, pg_temp as $$
declare
    letter outrider.dead_letter;
    present uuid[] := outrider.queued_again(letters);
    woken int;
    arrived int;
begin
    -- The lock keeps housekeeping from removing a message before its new delivery is visible.
    perform from outrider.outbox m
    where m.id in (select coalesce(d.redriven_as, d.message_id) from outrider.dead_letter d where d.id = any (letters))
    for key share;
    for letter in
        select d.* from outrider.dead_letter d
        where d.id = any (letters)
            and not exists (select from outrider.outbox m where m.id = coalesce(d.redriven_as, d.message_id))
    loop
        perform outrider.restore(letter);
    end loop;
    with wanted as materialized (
        select d.subscription_id, coalesce(d.redriven_as, d.message_id) as message_id, max(d.held_key) as held_key,
            max(d.held_place) as held_place, case when max(r.per_key) is not null then hashtextextended(max(d.key), 0) end as key,
            min(d.id::text) as first
        from outrider.dead_letter d
        left join outrider.route r on r.subscription_id = d.subscription_id
        -- One that its key waits for goes in any case: nothing else would let the key go on.
        where d.id = any (letters) and (d.held_place is not null or d.message_id <> all (present))
        group by 1, 2
    ), ready as (
        insert into outrider.delivery (subscription_id, message_id, redriven, key, place)
        select w.subscription_id, w.message_id, true, w.held_key, w.held_place from wanted w
        where w.key is null or w.held_place is not null order by w.first
        returning subscription_id
    ), arriving as (
        insert into outrider.arrival (subscription_id, key, is_old, replay, redriven, message_id)
        select w.subscription_id, w.key, false, false, true, w.message_id from wanted w
        where w.key is not null and w.held_place is null order by w.first
        returning 1
    )
    select max(r.subscription_id), (select count(*) from arriving) into woken, arrived from ready r;
    perform outrider.expect_arrivals() where arrived > 0;
    update outrider.dead_letter d
    set redriven_at = clock_timestamp(), redriven_by = requeue.by, redriven_as = coalesce(d.redriven_as, d.message_id)
    where d.id = any (letters);
    perform outrider.wake(array[woken]) where woken is not null;
end
$$;

-- Of a letter of a saga: has the step or compensation tried again, with another input if one is given, and returns the saga's
-- id. The engine closes the letter when it does so; should it refuse, the letter stays open.
create function outrider.redrive_saga(letter outrider.dead_letter, input jsonb) returns uuid
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
begin
    -- Whoever comes second waits for the first one's commit, and finds its mail or the letter closed.
    perform pg_advisory_xact_lock(1870033015, hashtext(letter.id::text));
    perform outrider.open_letter(letter.id);
    if exists (select from outrider.saga_mail m
        where m.saga_id = letter.saga_id and m.kind = 'act' and m.name = 'retry')
    then
        raise exception 'dead letter % is being redriven: saga % will be tried again', letter.id, letter.saga_id
            using errcode = 'OR006', hint = 'select status, waiting_for from outrider.sagas where id = …; tells how it goes.';
    end if;
    perform outrider.retry_saga(letter.saga_id, redrive_saga.input);
    return letter.saga_id;
end
$$;

create function outrider.redrive(dead_letter uuid, payload jsonb default null) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    letter outrider.dead_letter := outrider.open_letter(dead_letter);
begin
    if letter.kind <> 'message' then
        return outrider.redrive_saga(letter, redrive.payload);
    elsif not exists (select from outrider.subscription s where s.id = letter.subscription_id and s.removed_at is null) then
        raise exception 'subscription % of dead letter % was removed', letter.subscription, letter.id
            using errcode = 'OR006', hint = 'Apply its file again, or discard the letter.';
    elsif letter.payload is null then
        raise exception 'dead letter % holds no message: the log had lost it before', letter.id using errcode = 'OR006',
            hint = 'Publish the message anew if you have it elsewhere, and discard the letter.';
    end if;
    if redrive.payload is not null then
        perform outrider.edit_letter(letter, redrive.payload);
    end if;
    perform outrider.requeue(array[letter.id], session_user);
    return (select d.redriven_as from outrider.dead_letter d where d.id = letter.id);
end
$$;

-- Closes open letters of messages, locked by the caller, without sending them. Keys that waited for one of them go on.
create function outrider.close_letters(letters uuid[], reason text, by text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
begin
    update outrider.dead_letter d
    set discarded_at = clock_timestamp(), discarded_by = close_letters.by, discard_reason = close_letters.reason
    where d.id = any (letters);
    perform outrider.advance(array_agg(d.subscription_id), array_agg(d.held_key), array_agg(d.held_place))
    from outrider.dead_letter d where d.id = any (letters) and d.held_place is not null
    having count(*) > 0;
end
$$;

create function outrider.require_reason(reason text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp as $$
begin
    if coalesce(trim(reason), '') = '' then
        raise exception 'a reason is missing' using errcode = 'OR005',
            hint = 'Say why the message is not wanted: discard(''…'', ''order was cancelled by phone'').';
    end if;
end
$$;

create function outrider.discard(dead_letter uuid, reason text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    letter outrider.dead_letter;
begin
    perform outrider.require_reason(discard.reason);
    letter := outrider.open_letter(dead_letter);
    if letter.kind <> 'message' then
        raise exception 'dead letter % is of saga %, which would stay stuck', letter.id, letter.saga_id using errcode = 'OR006',
            hint = case when letter.step is not null then
                    format('skip_step(''%s'', ''%s'', ''why'') lets the saga go on without it; ', letter.saga_id, letter.step)
                else '' end || format('terminate_saga(''%s'', ''why'') ends it.', letter.saga_id);
    end if;
    perform outrider.close_letters(array[letter.id], discard.reason, session_user);
end
$$;

-- Orders what is to be done to all open letters of a subscription that died before a time. They are counted by their ids, which
-- were made when they died: a count by the time itself would read every letter.
create function outrider.order_letters(kind text, subscription text, before timestamptz, reason text default null) returns uuid
language sql volatile
set search_path = pg_catalog, pg_temp as $$
    insert into outrider.operation (kind, subscription_id, subscription, to_time, reason, phase, total)
    select order_letters.kind,
        -- What a removed subscription left can still be discarded.
        coalesce((select s.id from outrider.subscription s where s.name = order_letters.subscription and kind = 'discard'),
            outrider.subscription_id(order_letters.subscription)),
        order_letters.subscription, coalesce(order_letters.before, now()), order_letters.reason, 'letters',
        (select count(*) from outrider.dead_letter d
            where d.subscription = order_letters.subscription and d.redriven_at is null and d.discarded_at is null
                and d.id < outrider.uuid_v7_floor(coalesce(order_letters.before, now()) + interval '1 millisecond'))
    returning id
$$;

create function outrider.redrive_all(subscription text, before timestamptz default now()) returns uuid
language sql security definer
set search_path = pg_catalog, pg_temp as $$
    select outrider.order_letters('redrive', redrive_all.subscription, redrive_all.before)
$$;

create function outrider.discard_all(subscription text, reason text, before timestamptz default now()) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
    perform outrider.require_reason(discard_all.reason);
    return outrider.order_letters('discard', discard_all.subscription, discard_all.before, discard_all.reason);
end
$$;

-- Says since when the log has gaps in a range, for what a subscription takes of it; null when nothing of it was dropped.
create function outrider.log_gap(subscription_id int, from_time timestamptz, to_time timestamptz, topic text) returns text
language sql stable
set search_path = pg_catalog, pg_temp as $$
    select format('the log does not reach that far: of what was published before %s some or all is gone, since its retention has passed',
        to_char(max(p.upper_at) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
    from outrider.dropped_partition p
    where p.upper_at > from_time and p.lower_at < to_time
        and exists (
            select from unnest(p.topics) t (topic)
            join outrider.route r on r.subscription_id = log_gap.subscription_id
                and outrider.goes_to(t.topic, r.exact_topics, r.topic_expression)
            where log_gap.topic is null or t.topic = log_gap.topic)
    having count(*) > 0
$$;

create function outrider.replay(
    subscription text, from_time timestamptz, to_time timestamptz, key text default null, topic text default null
) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    made uuid;
    queue int := outrider.subscription_id(replay.subscription);
    gap text;
begin
    if from_time is null or to_time is null or from_time >= to_time then
        raise exception 'from_time % is not before to_time %', coalesce(from_time::text, 'null'),
            coalesce(to_time::text, 'null') using errcode = 'OR005',
            hint = 'replay(''order-email'', now() - interval ''1 hour'', now()) sends the last hour again.';
    end if;
    if replay.topic is not null and not exists (select from outrider.route r
        where r.subscription_id = queue and outrider.goes_to(replay.topic, r.exact_topics, r.topic_expression))
    then
        raise exception 'subscription % takes no topic %', replay.subscription, quote_literal(replay.topic)
            using errcode = 'OR005', hint = format('It takes %s.',
                (select array_to_string(s.topics, ', ') from outrider.subscription s where s.id = queue));
    end if;
    gap := outrider.log_gap(queue, replay.from_time, replay.to_time, replay.topic);
    if gap is not null then
        raise warning '%', gap;
    end if;
    -- What is published from now on is delivered in any case.
    insert into outrider.operation (kind, subscription_id, subscription, from_time, to_time, key, topic, phase, note)
    values ('replay', queue, replay.subscription, replay.from_time, least(replay.to_time, clock_timestamp()), replay.key,
        replay.topic, 'log', gap)
    returning id into made;
    return made;
end
$$;

-- Stops an operation where it is: what it has done stays done. An opening cannot be stopped, for its subscription waits for it.
create function outrider.cancel_operation(operation uuid) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    op outrider.operation;
begin
    select o.* into op from outrider.operation o where o.id = operation for update;
    if op.id is null then
        raise exception 'there is no operation %', operation using errcode = 'OR007',
            hint = 'select id, kind, subscription, status from outrider.operations; lists them.';
    elsif op.finished_at is not null then
        raise exception 'operation % ended at %', op.id, op.finished_at using errcode = 'OR006',
            hint = 'What it has done stays done.';
    elsif op.kind = 'open' then
        raise exception 'operation % opens subscription %', op.id, op.subscription using errcode = 'OR006',
            hint = 'Until it has ended nothing is sent; pause the subscription if that should go on.';
    end if;
    update outrider.operation o
    set phase = 'done', cancelled_by = session_user, finished_at = clock_timestamp() where o.id = op.id;
end
$$;

-- The transactions that are open in this database, prepared ones among them; not those of autovacuum, which publishes nothing.
create function outrider.open_transactions() returns text[]
language sql stable
set search_path = pg_catalog, pg_temp as $$
    select coalesce(array_agg(distinct l.virtualtransaction), '{}')
    from pg_locks l
    left join pg_stat_activity a on a.pid = l.pid
    where l.locktype in ('virtualxid', 'transactionid') and l.granted and l.pid is distinct from pg_backend_pid()
        and (a.datname = current_database() and a.usesysid is not null
            or exists (select from pg_prepared_xacts p
                where p.transaction = l.transactionid and p.database = current_database()))
$$;

-- Where a step through the log that begins at `lower` ends, so that about `most` messages are in it; null when all that are
-- left before `upper` are fewer. Messages stand in the log by the time in their ids, those with ids that callers chose by when
-- they were published. A step ends with a whole millisecond, for within one the ids are in no order: then messages sorted by
-- `published_at` within each step are sorted as a whole. How many are published in a millisecond bounds by how many it may be
-- exceeded.
create function outrider.log_step(lower timestamptz, upper timestamptz, most int) returns timestamptz
language sql stable
set search_path = pg_catalog, pg_temp as $$
    select least(
            (select outrider.uuid_v7_time(m.id) from outrider.outbox m
                where m.id >= outrider.uuid_v7_floor(lower) and m.id < outrider.uuid_v7_floor(upper)
                order by m.id offset most - 1 limit 1),
            (select date_trunc('milliseconds', c.at) from outrider.chosen_id c
                where c.at >= lower and c.at < upper order by c.at offset most - 1 limit 1))
        + interval '1 millisecond'
$$;

-- The messages of a step, but for those that were taken back and those that nobody published.
create function outrider.log_slice(lower timestamptz, upper timestamptz)
returns table (id uuid, topic text, key text, deliver_at timestamptz, published_at timestamptz)
language sql stable
set search_path = pg_catalog, pg_temp as $$
    with slice as (
        select m.id, m.topic, m.key, m.deliver_at, m.published_at from outrider.outbox m
        where m.id >= outrider.uuid_v7_floor(lower) and m.id < outrider.uuid_v7_floor(upper)
            and not exists (select from outrider.chosen_id c where c.id = m.id)
        union all
        select m.id, m.topic, m.key, m.deliver_at, m.published_at from outrider.chosen_id c
        join outrider.outbox m on m.id = c.id
        where c.at >= lower and c.at < upper
    )
    select s.* from slice s
    where not exists (select from outrider.cancelled_message c where c.message_id = s.id)
        and not exists (select from outrider.edited_message e where e.message_id = s.id)
$$;

-- One bounded step of an operation: about `most` messages, the cursor moves with them. Returns whether the next step can
-- follow at once.
create function outrider.operation_step(operation uuid, most int default 1000) returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    op outrider.operation;
    letters uuid[];
    lower timestamptz;
    upper timestamptz;
    messages uuid[];
    keys bigint[];
    times timestamptz[];
    routed uuid[];
    present uuid[];
    queued int := 0;
begin
    select o.* into op from outrider.operation o where o.id = operation and o.finished_at is null for update skip locked;
    if op.id is null then
        return false;
    end if;
    if op.kind <> 'discard'
        and not exists (select from outrider.subscription s where s.id = op.subscription_id and s.removed_at is null)
    then
        op.phase := 'done';
        op.error := 'the subscription was removed';
    end if;
    case op.phase
    when 'begin' then
        op.waits_for := outrider.open_transactions();
        op.phase := 'wait';
    when 'wait' then
        -- An open transaction may have published without seeing the subscription.
        if op.waits_for && outrider.open_transactions() then
            return false;
        end if;
        op.to_time := clock_timestamp();
        op.phase := 'log';
    when 'letters' then
        letters := array(
            select d.id from outrider.dead_letter d
            where d.subscription = op.subscription and d.redriven_at is null and d.discarded_at is null
                and (d.payload is not null or op.kind = 'discard') and d.dead_at < op.to_time
                and d.id > coalesce(op.cursor, '00000000-0000-0000-0000-000000000000')
            order by d.id limit most for update skip locked);
        if op.kind = 'discard' then
            perform outrider.close_letters(letters, op.reason, op.created_by);
        else
            perform outrider.requeue(letters, op.created_by);
        end if;
        queued := cardinality(letters);
        op.cursor := letters[queued];
        if queued < most then
            op.phase := 'done';
        end if;
    when 'log' then
        -- The second on each side is for what lies between the making of an id and `published_at`.
        lower := coalesce(op.reached_at, date_trunc('milliseconds', op.from_time - interval '1 second'));
        upper := date_trunc('milliseconds', op.to_time + interval '1 second');
        op.reached_at := coalesce(outrider.log_step(lower, upper, most), upper);
        with page as (
            select m.* from outrider.log_slice(lower, op.reached_at) m
            where m.published_at >= op.from_time and m.published_at < op.to_time
        ), locked as (
            -- Keeps housekeeping from removing a message before its new delivery is visible.
            select m.id from outrider.outbox m where m.id in (select p.id from page p) for key share
        ), matching as (
            select p.id, p.deliver_at, p.published_at, case when r.per_key is not null then hashtextextended(p.key, 0) end as key,
                op.kind = 'open' and p.published_at < op.created_at as is_unrouted
            from page p
            join locked l on l.id = p.id
            join outrider.route r on r.subscription_id = op.subscription_id
                and outrider.goes_to(p.topic, r.exact_topics, r.topic_expression)
            where (op.key is null or p.key = op.key) and (op.topic is null or p.topic = op.topic)
        )
        select array_agg(m.id order by m.published_at, m.id), array_agg(m.key order by m.published_at, m.id),
            array_agg(m.deliver_at order by m.published_at, m.id), array_agg(m.id) filter (where not m.is_unrouted)
        into messages, keys, times, routed
        from matching m;
        present := outrider.queued_of(op.subscription_id, routed);
        with wanted as (
            select w.* from unnest(messages, keys, times) with ordinality w (id, key, deliver_at, n) where w.id <> all (present)
        ), queue as (
            insert into outrider.delivery (subscription_id, message_id, replay)
            select op.subscription_id, w.id, op.kind = 'replay' from wanted w
            where w.key is null and (w.deliver_at is null or w.deliver_at <= now()) order by w.n
        ), arriving as (
            insert into outrider.arrival (subscription_id, key, is_old, replay, redriven, message_id)
            select op.subscription_id, w.key, op.kind = 'open', op.kind = 'replay', false, w.id from wanted w
            where w.key is not null and (w.deliver_at is null or w.deliver_at <= now()) order by w.n
        ), later as (
            insert into outrider.scheduled (due_at, subscription_id, message_id, replay, key)
            select w.deliver_at, op.subscription_id, w.id, op.kind = 'replay', w.key from wanted w where w.deliver_at > now()
        )
        select count(*) into queued from wanted;
        if op.reached_at >= upper then
            op.phase := 'done';
            -- A partition may have been dropped meanwhile. Who begins with the earliest (2000) asks for what there is.
            if op.kind = 'replay' or op.from_time > '2000-01-01 UTC' then
                op.note := coalesce(outrider.log_gap(op.subscription_id, op.from_time, op.to_time, op.topic), op.note);
            end if;
        end if;
        if queued > 0 then
            perform outrider.expect_arrivals() from outrider.route r where r.subscription_id = op.subscription_id and r.per_key is not null;
            perform outrider.wake(array[op.subscription_id]);
        end if;
    when 'done' then null;
    end case;
    update outrider.operation o
    set cursor = op.cursor, reached_at = op.reached_at, phase = op.phase, waits_for = op.waits_for, to_time = op.to_time,
        note = op.note, error = op.error, done = o.done + queued, finished_at = case op.phase when 'done' then clock_timestamp() end
    where o.id = op.id;
    if op.phase = 'done' and op.kind = 'open' then
        update outrider.subscription s set opening = false where s.id = op.subscription_id;
        update outrider.route r set opening = false where r.subscription_id = op.subscription_id;
        perform outrider.expect_arrivals();
        perform outrider.announce();
    end if;
    return op.phase <> 'done';
end
$$;

-- Ends an operation that cannot be carried out, so that it stands in nobody's way.
create function outrider.operation_failed(operation uuid, error text) returns void
language sql volatile
set search_path = pg_catalog, pg_temp as $$
    update outrider.operation o
    set phase = 'done', error = operation_failed.error, finished_at = clock_timestamp()
    where o.id = operation
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- Views

create view outrider.messages as
select m.id, m.topic, m.key, m.payload, m.headers, m.published_at, m.deliver_at, m.expires_at, m.dedupe_key,
    c.at as cancelled_at, c.by as cancelled_by, e.dead_letter as redrive_of, e.original_id
from outrider.outbox m
left join outrider.cancelled_message c on c.message_id = m.id
left join outrider.edited_message e on e.message_id = m.id;

create view outrider.deliveries as
with queued as (
    select d.message_id, d.subscription_id, d.attempts, d.rescues, d.replay, d.owner, null::timestamptz as due_at,
        false as is_blocked
    from outrider.delivery d
    union all
    select s.message_id, s.subscription_id, s.attempts, s.rescues, s.replay, null, s.due_at, false
    from outrider.scheduled s
    union all
    select b.message_id, b.subscription_id, 0, 0, b.replay, null, null, true from outrider.backlog b
    union all
    select a.message_id, a.subscription_id, 0, 0, a.replay, null, null, true from outrider.arrival a
)
select q.message_id, s.name as subscription, m.key,
    case when q.due_at is not null then 'scheduled' when q.owner is not null then 'in_flight'
        when q.is_blocked then 'blocked' else 'ready' end as state,
    q.attempts + case when q.owner is null then 0 else 1 end as attempt,
    q.due_at, a.error as last_error, m.topic, m.published_at, w.name as worker, q.rescues, q.replay
from queued q
join outrider.subscription s on s.id = q.subscription_id
left join outrider.outbox m on m.id = q.message_id
left join outrider.worker w on w.token = q.owner
left join lateral (
    select a.error from outrider.delivery_attempt a
    where a.message_id = q.message_id and a.subscription_id = q.subscription_id and a.error is not null
    order by a.at desc limit 1
) a on true;

create view outrider.delivery_attempts as
select a.message_id, s.name as subscription, a.attempt, a.at, a.outcome, a.status, a.duration, a.error, a.worker
from outrider.delivery_attempt a
left join outrider.subscription s on s.id = a.subscription_id;

create view outrider.dead_letters as
select d.id, d.kind, d.subscription, d.saga_id, d.step, d.topic, d.key, d.payload, d.headers, d.attempts,
    d.first_tried_at, d.dead_at, d.reason, d.last_error, d.redriven_at, d.discarded_at,
    d.message_id, d.published_at, d.errors, d.redriven_by, d.discarded_by, d.discard_reason,
    d.held_place is not null and d.redriven_at is null and d.discarded_at is null as holds_key, d.redriven_as, d.redrive_of
from outrider.dead_letter d;

create view outrider.queue_depth as
with ready as (
    select d.subscription_id, count(*) filter (where d.owner is null) as ready,
        count(*) filter (where d.owner is not null) as in_flight
    from outrider.delivery d group by d.subscription_id
), waiting as (
    select d.subscription_id, count(*) as scheduled,
        min(m.published_at) filter (where d.attempts > 0) as oldest
    from outrider.scheduled d
    left join outrider.outbox m on m.id = d.message_id and d.attempts > 0
    group by d.subscription_id
), blocked as (
    select w.subscription_id, count(*) as blocked
    from (
        select b.subscription_id from outrider.backlog b
        union all
        select a.subscription_id from outrider.arrival a
    ) w group by w.subscription_id
), dead as (
    select d.subscription, count(*) as dead
    from outrider.dead_letter d
    where d.redriven_at is null and d.discarded_at is null and d.subscription is not null
    group by d.subscription
)
select s.name as subscription, coalesce(r.ready, 0) as ready, coalesce(r.in_flight, 0) as in_flight,
    coalesce(w.scheduled, 0) as scheduled, coalesce(b.blocked, 0) as blocked, coalesce(d.dead, 0) as dead,
    now() - least(w.oldest, head.published_at, behind.published_at) as oldest_age
from outrider.subscription s
left join ready r on r.subscription_id = s.id
left join waiting w on w.subscription_id = s.id
left join blocked b on b.subscription_id = s.id
left join dead d on d.subscription = s.name
left join lateral (
    select (select m.published_at from outrider.outbox m where m.id = q.message_id limit 1) as published_at
    from outrider.delivery q
    where q.subscription_id = s.id
    order by q.id limit 1
) head on true
left join lateral (
    select (select m.published_at from outrider.outbox m where m.id = q.message_id limit 1) as published_at
    from outrider.backlog q
    where q.subscription_id = s.id
    order by q.message_id limit 1
) behind on true
where s.removed_at is null;

-- What an autoscaler asks. More workers help while `depth` is high and `utilisation` is not: at 1 the subscription's own limit
-- is what holds it back.
create view outrider.scaling as
select s.name as subscription, q.ready + q.in_flight as depth, q.oldest_age, coalesce(w.workers, 0) as workers, q.ready,
    q.in_flight, q.scheduled, q.blocked, c.concurrency,
    case when c.concurrency > 0 then round(least(q.in_flight::numeric / c.concurrency, 1), 3)::float8 end as utilisation,
    s.paused_at is not null as paused
from outrider.subscription s
join outrider.queue_depth q on q.subscription = s.name
left join outrider.definition d on d.kind = 'subscription' and d.name = s.name and d.replaced_at is null
left join (
    select u.subscription_id, count(*) as workers
    from outrider.worker w cross join unnest(w.subscriptions) u (subscription_id)
    where not w.draining
    group by u.subscription_id
) w on w.subscription_id = s.id
cross join lateral (
    select case when jsonb_typeof(d.content -> 'concurrency') = 'number' then (d.content ->> 'concurrency')::int
        -- The default; null while it is found out (`auto`), and for those that start sagas.
        when d.content is not null and not d.content ? 'concurrency' then 64 end as concurrency
) c;

create view outrider.subscriptions as
select s.name, s.topics, s.paused_at, s.paused_by, s.opening, s.created_at, d.applied_at, d.applied_by, d.hash, d.content as definition,
    coalesce((select array_agg(w.name order by w.name) from outrider.worker w where s.id = any (w.subscriptions)), '{}')
        as workers
from outrider.subscription s
left join outrider.definition d on d.kind = 'subscription' and d.name = s.name and d.replaced_at is null
where s.removed_at is null;

create view outrider.workers as
select w.name, w.token, w.version, w.started_at, w.seen_at, w.lease, w.in_flight, w.draining,
    array(select s.name from outrider.subscription s where s.id = any (w.subscriptions) order by s.name) as subscriptions,
    exists (select from pg_stat_activity a where a.pid = w.backend_pid) as connected
from outrider.worker w;

create view outrider.operations as
select o.id, o.kind, o.subscription, o.from_time, o.to_time, o.key, o.created_at, o.created_by, o.done,
    case when o.error is not null then 'failed' when o.cancelled_by is not null then 'cancelled'
        when o.finished_at is not null then 'finished'
        when o.phase in ('begin', 'wait') or o.cursor is null and o.reached_at is null then 'waiting'
        else 'running' end as status,
    o.finished_at, o.error, o.topic, o.reason, o.total, o.reached_at, o.note, o.cancelled_by
from outrider.operation o;

create view outrider.definitions as
select d.kind, d.name, d.hash, d.content, d.applied_at, d.applied_by, d.replaced_at, d.version
from outrider.definition d;
