-- What a person does to messages: take back, redrive, discard, replay, pause. And the views that show everything.

create function outrider.subscription_id(subscription text) returns int
language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
    found_id int;
begin
    select s.id into found_id from outrider.subscription s where s.name = subscription_id.subscription;
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

create function outrider.cancel_message(id uuid) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    ready int;
    waiting int;
begin
    -- Rows that a worker is claiming at this moment are as good as sent.
    delete from outrider.delivery where ctid = any (array(
        select d.ctid from outrider.delivery d
        where d.message_id = cancel_message.id and d.owner is null and d.attempts = 0 for update skip locked));
    get diagnostics ready = row_count;
    delete from outrider.scheduled where ctid = any (array(
        select s.ctid from outrider.scheduled s
        where s.message_id = cancel_message.id and s.attempts = 0 for update skip locked));
    get diagnostics waiting = row_count;
    if ready + waiting = 0 then
        return false;
    end if;
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

-- Locks an open dead letter, or says why that cannot be.
create function outrider.open_letter(letter uuid) returns outrider.dead_letter
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    found_letter outrider.dead_letter;
begin
    select d.* into found_letter from outrider.dead_letter d where d.id = letter for update;
    if found_letter.id is null then
        raise exception 'there is no dead letter %', letter using errcode = 'OR007',
            hint = 'select id, subscription, dead_at from outrider.dead_letters; lists them.';
    elsif found_letter.redriven_at is not null then
        raise exception 'dead letter % was redriven at % by %', letter, found_letter.redriven_at, found_letter.redriven_by
            using errcode = 'OR006', hint = 'If it failed again there is a newer letter of the same message_id.';
    elsif found_letter.discarded_at is not null then
        raise exception 'dead letter % was discarded at % by %', letter, found_letter.discarded_at,
            found_letter.discarded_by using errcode = 'OR006', hint = 'Publish the payload anew if it is wanted after all.';
    end if;
    return found_letter;
end
$$;

-- Puts the message of a letter, locked by the caller, back into the queue of its subscription, with its id: a handler that did
-- succeed recognises the idempotency key. The log may have dropped the message; the letter's copy brings it back.
create function outrider.requeue(letter outrider.dead_letter, by text) returns uuid
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from outrider.subscription s where s.id = letter.subscription_id) then
        raise exception 'subscription % of dead letter % is gone', letter.subscription, letter.id using errcode = 'OR006',
            hint = 'Apply its file again and publish the payload anew, or discard the letter.';
    end if;
    if letter.payload is null then
        raise exception 'dead letter % holds no message: the log had lost it before', letter.id using errcode = 'OR006',
            hint = 'Publish the message anew if you have it elsewhere, and discard the letter.';
    end if;
    -- The lock keeps housekeeping from removing the message before its new delivery is visible.
    perform from outrider.outbox m where m.id = letter.message_id for key share;
    if not found then
        -- Into its partition without the parent's trigger, which would route it to every subscription.
        perform set_config('outrider.moving', 'on', true);
        execute format(
            'insert into outrider.%I (id, topic, key, payload, headers, published_at)
             values ($1.message_id, $1.topic, $1.key, $1.payload, $1.headers, $1.published_at) on conflict do nothing',
            coalesce((select p.name from outrider.outbox_partition p
                where letter.message_id >= outrider.uuid_v7_floor(p.lower_at)
                    and letter.message_id < outrider.uuid_v7_floor(p.upper_at)), 'outbox_default')) using letter;
        perform set_config('outrider.moving', '', true);
    end if;
    update outrider.dead_letter d set redriven_at = clock_timestamp(), redriven_by = requeue.by where d.id = letter.id;
    insert into outrider.delivery (subscription_id, message_id) values (letter.subscription_id, letter.message_id);
    perform outrider.wake(array[letter.subscription_id]);
    return letter.message_id;
end
$$;

create function outrider.redrive(dead_letter uuid) returns uuid
language sql security definer
set search_path = pg_catalog, pg_temp as $$
    select outrider.requeue(outrider.open_letter(dead_letter), session_user)
$$;

create function outrider.discard(dead_letter uuid, reason text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
    if coalesce(trim(discard.reason), '') = '' then
        raise exception 'a reason is missing' using errcode = 'OR005',
            hint = 'Say why the message is not wanted: discard(''…'', ''order was cancelled by phone'').';
    end if;
    perform outrider.open_letter(dead_letter);
    update outrider.dead_letter d
    set discarded_at = clock_timestamp(), discarded_by = session_user, discard_reason = discard.reason
    where d.id = discard.dead_letter;
end
$$;

create function outrider.redrive_all(subscription text, before timestamptz default now()) returns uuid
language sql security definer
set search_path = pg_catalog, pg_temp as $$
    insert into outrider.operation (kind, subscription_id, subscription, to_time)
    values ('redrive', outrider.subscription_id(redrive_all.subscription), redrive_all.subscription, redrive_all.before)
    returning id
$$;

create function outrider.replay(subscription text, from_time timestamptz, to_time timestamptz, key text default null)
returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    made uuid;
begin
    if from_time is null or to_time is null or from_time >= to_time then
        raise exception 'from_time % is not before to_time %', coalesce(from_time::text, 'null'),
            coalesce(to_time::text, 'null') using errcode = 'OR005',
            hint = 'replay(''order-email'', now() - interval ''1 hour'', now()) sends the last hour again.';
    end if;
    insert into outrider.operation (kind, subscription_id, subscription, from_time, to_time, key)
    values ('replay', outrider.subscription_id(replay.subscription), replay.subscription, replay.from_time,
        replay.to_time, replay.key)
    returning id into made;
    return made;
end
$$;

-- One bounded step of an operation: at most `most` messages, the cursor moves with them. Returns true while there is more.
create function outrider.operation_step(operation uuid, most int default 500) returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    op outrider.operation;
    last_id uuid;
    seen int;
    queued int;
begin
    select o.* into op from outrider.operation o where o.id = operation and o.finished_at is null for update skip locked;
    if op.id is null then
        return false;
    end if;
    if not exists (select from outrider.subscription s where s.id = op.subscription_id) then
        -- The subscription was removed meanwhile: nothing is left to do.
        update outrider.operation o set finished_at = clock_timestamp(), phase = 0 where o.id = op.id;
        return false;
    end if;
    if op.kind = 'redrive' then
        with letters as (
            select d.* from outrider.dead_letter d
            where d.subscription_id = op.subscription_id and d.redriven_at is null and d.discarded_at is null
                and d.payload is not null
                and d.dead_at < op.to_time and (op.cursor is null or d.id > op.cursor)
            order by d.id limit most for update skip locked
        )
        -- max() knows no uuid; the ids are ordered like their texts.
        select max(l.id::text)::uuid, count(*), count(outrider.requeue(l, op.created_by)) into last_id, seen, queued
        from letters l;
        if seen < most then
            op.phase := 0;
        end if;
    else
        -- Phase 1 reads the ids that were made in the range, phase 2 those that callers chose in it.
        with page as (
            select m.id, m.topic, m.key from outrider.outbox m
            where op.phase = 1
                and m.id > coalesce(op.cursor, outrider.uuid_v7_floor(op.from_time - interval '1 second'))
                and m.id < outrider.uuid_v7_floor(op.to_time + interval '1 second')
                and m.published_at >= op.from_time and m.published_at < op.to_time
                and not exists (select from outrider.chosen_id c where c.id = m.id)
            union all
            select m.id, m.topic, m.key from outrider.chosen_id c
            join outrider.outbox m on m.id = c.id
            where op.phase = 2 and (op.cursor is null or m.id > op.cursor)
                and c.at >= op.from_time - interval '1 second' and c.at < op.to_time + interval '1 second'
                and m.published_at >= op.from_time and m.published_at < op.to_time
            order by id limit most
        ), wanted as (
            select p.id from page p
            join outrider.subscription s on s.id = op.subscription_id
                and (p.topic = any (s.exact_topics) or p.topic ~ s.topic_expression)
            where (op.key is null or p.key = op.key)
                and not exists (select from outrider.delivery d
                    where d.subscription_id = op.subscription_id and d.message_id = p.id)
                and not exists (select from outrider.scheduled d
                    where d.subscription_id = op.subscription_id and d.message_id = p.id)
                and not exists (select from outrider.cancelled_message c where c.message_id = p.id)
        ), queue as (
            insert into outrider.delivery (subscription_id, message_id, replay)
            select op.subscription_id, w.id, true from wanted w order by w.id
        )
        select max(p.id::text)::uuid, count(*), (select count(*) from wanted) into last_id, seen, queued from page p;
        if seen < most then
            op.phase := case op.phase when 1 then 2 else 0 end;
            last_id := null;
        end if;
        if queued > 0 then
            perform outrider.wake(array[op.subscription_id]);
        end if;
    end if;
    update outrider.operation o
    set cursor = last_id, phase = op.phase, done = o.done + queued,
        finished_at = case when op.phase = 0 then clock_timestamp() end
    where o.id = op.id;
    return op.phase > 0;
end
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- Views

create view outrider.messages as
select m.id, m.topic, m.key, m.payload, m.headers, m.published_at, m.deliver_at, m.expires_at, m.dedupe_key,
    c.at as cancelled_at, c.by as cancelled_by
from outrider.outbox m
left join outrider.cancelled_message c on c.message_id = m.id;

create view outrider.deliveries as
with queued as (
    select d.message_id, d.subscription_id, d.attempts, d.rescues, d.replay, d.owner, null::timestamptz as due_at
    from outrider.delivery d
    union all
    select s.message_id, s.subscription_id, s.attempts, s.rescues, s.replay, null, s.due_at
    from outrider.scheduled s
)
select q.message_id, s.name as subscription, m.key,
    case when q.due_at is not null then 'scheduled' when q.owner is not null then 'in_flight' else 'ready' end as state,
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
    d.message_id, d.published_at, d.errors, d.redriven_by, d.discarded_by, d.discard_reason
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
), dead as (
    select d.subscription_id, count(*) as dead
    from outrider.dead_letter d
    where d.redriven_at is null and d.discarded_at is null and d.subscription_id is not null
    group by d.subscription_id
)
select s.name as subscription, coalesce(r.ready, 0) as ready, coalesce(r.in_flight, 0) as in_flight,
    coalesce(w.scheduled, 0) as scheduled, 0::bigint as blocked, coalesce(d.dead, 0) as dead,
    now() - least(w.oldest, head.published_at) as oldest_age
from outrider.subscription s
left join ready r on r.subscription_id = s.id
left join waiting w on w.subscription_id = s.id
left join dead d on d.subscription_id = s.id
left join lateral (
    select m.published_at from outrider.delivery q
    join outrider.outbox m on m.id = q.message_id
    where q.subscription_id = s.id
    order by q.id limit 1
) head on true;

create view outrider.subscriptions as
select s.name, s.topics, s.paused_at, s.paused_by, s.created_at, d.applied_at, d.applied_by, d.hash, d.content as definition,
    coalesce((select array_agg(w.name order by w.name) from outrider.worker w where s.id = any (w.subscriptions)), '{}')
        as workers
from outrider.subscription s
left join outrider.definition d on d.kind = 'subscription' and d.name = s.name and d.replaced_at is null;

create view outrider.endpoints as
select e.name, e.url, d.applied_at, d.applied_by, d.hash, d.content as definition
from outrider.endpoint e
left join outrider.definition d on d.kind = 'endpoint' and d.name = e.name and d.replaced_at is null;

create view outrider.workers as
select w.name, w.token, w.version, w.started_at, w.seen_at, w.lease, w.in_flight, w.draining,
    array(select s.name from outrider.subscription s where s.id = any (w.subscriptions) order by s.name) as subscriptions,
    exists (select from pg_stat_activity a where a.pid = w.backend_pid) as connected
from outrider.worker w;

create view outrider.operations as
select o.id, o.kind, o.subscription, o.from_time, o.to_time, o.key, o.created_at, o.created_by, o.done,
    case when o.finished_at is not null then 'finished' when o.cursor is null and o.phase = 1 then 'waiting'
        else 'running' end as status,
    o.finished_at
from outrider.operation o;

create view outrider.definitions as
select d.kind, d.name, d.hash, d.content, d.applied_at, d.applied_by, d.replaced_at
from outrider.definition d;
