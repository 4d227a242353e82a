-- Sagas: what runs, what happened, what others have to say to it.

-- Names are fixed in the database itself, as in 001:
--   saga_type     what can be started: one row a name, with the version in force
--   saga          one row a saga; only the engine updates it
--   saga_fact     the history, append-only; a saga's state is made of nothing else
--   saga_mail     callbacks, signals, operators' acts: appended by anybody, taken by the engine
--
-- A saga that has something to do has a row in `delivery`, as a message has: `message_id` is the saga's id, and
-- `subscription_id` the saga type's, negative. Claims, floors, rescues, wake-ups and what is due later are those of the queue.
--
-- A saga may be what kills its workers. One that was taken over three times is a suspect: a worker takes up one of them at a
-- time, and the fifth time it is stuck. While a row is claimed and the suspect not taken up, its `rescues` are negative: a
-- death does not count against it.

create table outrider.saga_type (
    id int generated always as identity primary key,
    name text not null unique,
    version int not null,
    hash text not null,
    -- What `key:` says: [{"text": "…"}, {"path": ["orderId"]}, …]; null without.
    key_parts jsonb,
    reuse_key boolean not null,
    retention interval not null,
    removed_at timestamptz
);

create table outrider.saga (
    id uuid primary key,
    type_id int not null,
    name text not null,
    version int not null,
    hash text not null,
    key text,
    input jsonb not null,
    headers jsonb,
    parent_id uuid,
    parent_step text,
    retention interval not null,
    started_at timestamptz not null default clock_timestamp(),
    -- What follows is the engine's.
    owner uuid,
    -- The row of `scheduled` that wakes it, while it sleeps.
    timer bigint,
    -- How often a worker took it up; the history of one that was never taken is empty.
    claims int not null default 0,
    status text not null default 'running',
    suspended boolean not null default false,
    pivoted boolean not null default false,
    waiting_for text,
    failure jsonb,
    trouble jsonb,
    output jsonb,
    skipped int not null default 0,
    deadline timestamptz,
    finished_at timestamptz
) with (
    -- A claim and a release are heap-only updates: nothing that they change is indexed.
    fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000
);
create index saga_parent on outrider.saga (parent_id) where parent_id is not null;
create index saga_stuck on outrider.saga (id) where status = 'stuck';
create index saga_name_key on outrider.saga (name, key) where key is not null;
-- When it may go: intervals add up to a time zone's time only.
create index saga_outlived on outrider.saga (((finished_at at time zone 'UTC') + retention)) where finished_at is not null;
comment on column outrider.saga.owner is 'Token of the worker that has it in memory.';

create table outrider.saga_key (
    name text not null,
    key text not null,
    saga_id uuid not null,
    primary key (name, key)
);

create table outrider.saga_fact (
    seq bigint generated always as identity,
    saga_id uuid not null,
    at timestamptz not null,
    event text not null,
    step text,
    op text,
    attempt int,
    detail jsonb not null,
    worker text not null,
    primary key (saga_id, seq)
) with (autovacuum_vacuum_insert_scale_factor = 0.1);
create index saga_fact_at on outrider.saga_fact using brin (at);

create table outrider.saga_mail (
    id bigint generated always as identity primary key,
    saga_id uuid not null,
    -- callback, signal, act, child
    kind text not null,
    step text,
    op text,
    -- Of a callback: which request's.
    send int,
    -- Of a signal its event, of an act its name, of a callback complete, fail or heartbeat.
    name text,
    payload jsonb,
    by text not null default session_user,
    at timestamptz not null default clock_timestamp()
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);
create index saga_mail_saga on outrider.saga_mail (saga_id, id);

-- One row a request that is answered by callback.
create table outrider.saga_callback (
    token text primary key,
    saga_id uuid not null,
    step text not null,
    op text not null,
    send int not null,
    made_at timestamptz not null default clock_timestamp(),
    answered_at timestamptz
);
create index saga_callback_saga on outrider.saga_callback (saga_id);

-- ---------------------------------------------------------------------------------------------------------------
-- Starting

-- The key that a definition derives from an input.
create function outrider.saga_key(parts jsonb, input jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp as $$
declare
    part jsonb;
    path text[];
    piece jsonb;
    key text := '';
begin
    for part in select p from jsonb_array_elements(parts) with ordinality t (p, n) order by n loop
        if part ? 'text' then
            key := key || (part ->> 'text');
            continue;
        end if;
        path := array(select jsonb_array_elements_text(part -> 'path'));
        piece := input #> path;
        if piece is null or jsonb_typeof(piece) = 'null' then
            raise exception 'the input has no .%, which the saga''s key is made of', array_to_string(path, '.')
                using errcode = 'OR005', hint = 'Give the value in the input, or a key: start_saga(…, key => ''…'').';
        elsif jsonb_typeof(piece) in ('object', 'array') then
            raise exception 'the saga''s key is made of .% of the input, which is an %', array_to_string(path, '.'),
                jsonb_typeof(piece)
                using errcode = 'OR005', hint = 'Give a text or a number there, or a key: start_saga(…, key => ''…'').';
        end if;
        key := key || (piece #>> '{}');
    end loop;
    return key;
end
$$;

-- Puts a saga into the queue: it has something to do. The workers are woken as `wake` does it, in the same statement.
create function outrider.enqueue_saga(saga_id uuid, type_id int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
begin
    insert into outrider.delivery (subscription_id, message_id)
    values (case when pg_try_advisory_xact_lock_shared(1870033010, -enqueue_saga.type_id)
        or pg_notify('outrider_wake', (-enqueue_saga.type_id)::text) is not null then -enqueue_saga.type_id end,
        enqueue_saga.saga_id);
end
$$;

-- Makes the key a new saga's. Returns null when it is, else the saga that has it and is as good as the new one.
create function outrider.take_key(made uuid, type outrider.saga_type, key text, input jsonb, parent_id uuid, parent_step text)
returns uuid
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    other outrider.saga;
    holder uuid;
begin
    loop
        -- Of concurrent starts the second one waits here for the first one's commit.
        insert into outrider.saga_key (name, key, saga_id) values (type.name, take_key.key, made) on conflict do nothing;
        if found then
            return null;
        end if;
        select k.saga_id into holder from outrider.saga_key k where k.name = type.name and k.key = take_key.key;
        continue when holder is null;  -- it ended, and freed the key, in between
        select s.* into other from outrider.saga s where s.id = holder;
        -- Else its parent tries the step again after it came to nothing; or somebody deleted it by hand.
        exit when other.id is not null and not coalesce(other.parent_id = take_key.parent_id
            and other.parent_step = take_key.parent_step and other.finished_at is not null and other.status <> 'completed', false);
        update outrider.saga_key k set saga_id = made
        where k.name = type.name and k.key = take_key.key and k.saga_id = holder;
        if found then
            return null;
        end if;
    end loop;
    if other.input = take_key.input and other.parent_id is not distinct from take_key.parent_id
        and other.parent_step is not distinct from take_key.parent_step
    then
        return other.id;
    end if;
    raise exception 'the key % of saga % is in use %', quote_literal(take_key.key), type.name,
        case when other.input <> take_key.input then 'with another input'
            when other.parent_id is null then 'by one that is no sub-saga' else 'by the sub-saga of another step' end
        using errcode = 'OR004', detail = format('Saga %s has it since %s.', other.id, other.started_at),
        hint = 'The same key with the same input returns the saga that exists; another input needs another key.';
end
$$;

create function outrider.begin_saga(
    saga text, input jsonb, key text, start_at timestamptz, headers jsonb, parent_id uuid, parent_step text
) returns uuid
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    type outrider.saga_type;
    made uuid := outrider.uuid_v7();
    ancestors int;
    other uuid;
    timer bigint;
begin
    select t.* into type from outrider.saga_type t where t.name = begin_saga.saga and t.removed_at is null;
    if type.id is null then
        raise exception 'there is no saga %', quote_nullable(left(saga, 80)) using errcode = 'OR003',
            hint = 'select name from outrider.definitions where kind = ''saga'' and replaced_at is null; lists them.';
    elsif input is null then
        raise exception 'the input is null' using errcode = 'OR005',
            hint = 'Give an input; for an empty one: start_saga(''place-order'', ''{}'').';
    elsif not isfinite(start_at) then
        raise exception 'start_at is %', start_at using errcode = 'OR005', hint = 'Give a time, or leave it out to start at once.';
    elsif headers is not null and (jsonb_typeof(headers) <> 'object' or headers @? 'strict $.* ? (@.type() != "string")') then
        raise exception 'headers % are not an object of strings', left(headers::text, 80) using errcode = 'OR005',
            hint = 'Give an object whose values are strings: {"traceparent": "…"}';
    end if;
    -- Sagas that run each other in a circle come to an end.
    if parent_id is not null then
        with recursive ancestor as (
            select begin_saga.parent_id as id, 1 as number
            union all
            select p.parent_id, a.number + 1 from ancestor a join outrider.saga p on p.id = a.id
            where p.parent_id is not null and a.number <= 32
        )
        select max(a.number) into ancestors from ancestor a;
        if ancestors > 32 then
            raise exception 'the saga % would be the sub-saga of % others', begin_saga.saga, ancestors using errcode = 'OR006',
                detail = format('Saga %s, which runs it, has 32 sagas above itself.', begin_saga.parent_id),
                hint = 'Sagas may run each other 32 deep. Look for one that runs itself, by way of others maybe.';
        end if;
    end if;
    if key is null and type.key_parts is not null then
        key := outrider.saga_key(type.key_parts, input);
    end if;
    if key is not null then
        if key = '' then
            raise exception 'the key is empty' using errcode = 'OR005',
                hint = 'Give a key that tells this saga from others, or none at all.';
        elsif octet_length(key) > 1000 then
            raise exception 'the key has % bytes', octet_length(key) using errcode = 'OR005',
                hint = 'A key has at most 1000 bytes; hash what is longer.';
        end if;
        other := outrider.take_key(made, type, key, input, parent_id, parent_step);
        if other is not null then
            return other;
        end if;
    end if;
    if start_at > clock_timestamp() then
        insert into outrider.scheduled as s (due_at, subscription_id, message_id) values (begin_saga.start_at, -type.id, made)
        returning s.id into timer;
        if start_at < clock_timestamp() + interval '1 second' then
            perform pg_notify('outrider_wake', 'due');
        end if;
    end if;
    insert into outrider.saga (id, type_id, name, version, hash, key, input, headers, parent_id, parent_step, retention,
        started_at, timer)
    values (made, type.id, type.name, type.version, type.hash, begin_saga.key, begin_saga.input, begin_saga.headers,
        begin_saga.parent_id, begin_saga.parent_step,
        -- A sub-saga is kept as long as its parent.
        greatest(type.retention, (select p.retention from outrider.saga p where p.id = begin_saga.parent_id)),
        greatest(begin_saga.start_at, clock_timestamp()), timer);
    if timer is null then
        perform outrider.enqueue_saga(made, type.id);
    end if;
    return made;
end
$$;

create function outrider.start_saga(
    saga text, input jsonb, key text default null, start_at timestamptz default null, headers jsonb default null
) returns uuid
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp as $$
begin
    return outrider.begin_saga(saga, input, key, start_at, headers, null, null);
end
$$;

-- Messages of a topic that starts a saga: takes up to `most` out of the queue and starts a saga for each, exactly once. What
-- cannot be started becomes a dead letter. One whose key is in an open transaction of somebody else is tried later: its worker
-- has other sagas to run. Returns how many were taken, and the newest id.
create function outrider.start_from_messages(subscription_id int, floor bigint, most int)
returns table (taken int, newest bigint)
language plpgsql volatile
set lock_timeout = '20ms'
set search_path = pg_catalog, pg_temp as $$
declare
    saga_name text := (select s.saga from outrider.subscription s where s.id = subscription_id);
    queued record;
    error_text text;
begin
    taken := 0;
    for queued in
        with c as (
            delete from outrider.delivery where ctid = any (array(
                select d.ctid from outrider.delivery d
                join outrider.subscription s on s.id = d.subscription_id and s.paused_at is null and s.removed_at is null
                where d.subscription_id = start_from_messages.subscription_id and d.id > floor and d.owner is null
                order by d.id limit most for update of d skip locked))
            returning *
        )
        select c.*, m.payload, m.headers, m.topic, m.expires_at from c
        left join lateral (select * from outrider.outbox m where m.id = c.message_id limit 1) m on true
        order by c.id
    loop
        taken := taken + 1;
        newest := queued.id;
        continue when queued.expires_at <= clock_timestamp() and not queued.redriven;
        if queued.topic is null then
            perform outrider.bury(start_from_messages.subscription_id, queued.message_id, queued.attempts + 1,
                coalesce(queued.first_tried_at, clock_timestamp()), 'message-missing', 'the log holds no such message');
            continue;
        end if;
        begin
            perform outrider.begin_saga(saga_name, queued.payload, null, null, queued.headers, null, null);
        exception
            when lock_not_available or deadlock_detected then
                insert into outrider.scheduled
                    (due_at, subscription_id, attempts, rescues, replay, redriven, message_id, first_tried_at)
                values (clock_timestamp() + interval '1 second' * least(60, 2 ^ least(queued.attempts, 6)),
                    start_from_messages.subscription_id, queued.attempts + 1, queued.rescues, queued.replay, queued.redriven,
                    queued.message_id, coalesce(queued.first_tried_at, clock_timestamp()));
            when others then
                get stacked diagnostics error_text = message_text;
                if left(sqlstate, 2) not in ('OR', '22', '23', '42', '54', 'P0') then
                    raise;  -- not the message's fault: all are taken again later
                end if;
                perform outrider.bury(start_from_messages.subscription_id, queued.message_id, queued.attempts + 1,
                    coalesce(queued.first_tried_at, clock_timestamp()), 'not-started', error_text);
        end;
    end loop;
    return next;
end
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- Mail

create function outrider.find_saga(saga_id uuid) returns outrider.saga
language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
    one outrider.saga;
begin
    select s.* into one from outrider.saga s where s.id = find_saga.saga_id;
    if one.id is null then
        raise exception 'there is no saga with the id %', coalesce(saga_id::text, 'null') using errcode = 'OR007',
            hint = 'select id, saga, key, status from outrider.sagas; lists them.';
    end if;
    return one;
end
$$;

-- Appends to a saga's mailbox and puts the saga into the queue. Never waits for a worker.
create function outrider.mail(
    saga outrider.saga, kind text, name text, payload jsonb default null, step text default null, op text default null,
    send int default null, by text default session_user
) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
begin
    insert into outrider.saga_mail (saga_id, kind, step, op, send, name, payload, by)
    values (saga.id, mail.kind, mail.step, mail.op, mail.send, mail.name, mail.payload, mail.by);
    perform outrider.enqueue_saga(saga.id, saga.type_id);
end
$$;

create function outrider.signal_saga(saga_id uuid, event text, payload jsonb default null) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    one outrider.saga := outrider.find_saga(saga_id);
begin
    if event is null or event !~ '^[A-Za-z][A-Za-z0-9_.-]{0,254}$' then
        raise exception 'event % is not the name of an event', quote_nullable(left(event, 80)) using errcode = 'OR005',
            hint = 'A name begins with a letter and has at most 255 of A-Z, a-z, 0-9, _, . and -: parcel-handed-over';
    elsif one.finished_at is not null then
        raise exception 'saga % is % since %', one.id, one.status, one.finished_at using errcode = 'OR006',
            hint = 'Nothing waits for the event any more.';
    end if;
    perform outrider.mail(one, 'signal', event, payload);
end
$$;

create function outrider.signal_saga(saga text, key text, event text, payload jsonb default null) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    found_id uuid := (select k.saga_id from outrider.saga_key k
        where k.name = signal_saga.saga and k.key = signal_saga.key);
begin
    if found_id is null then
        raise exception 'there is no saga % with the key %', quote_nullable(saga), quote_nullable(key)
            using errcode = 'OR007', hint = 'select saga, key, status from outrider.sagas where key is not null; lists them.';
    end if;
    perform outrider.signal_saga(found_id, event, payload);
end
$$;

-- False says that the token is known to be stale: unknown, answered before, of an earlier try, or of a saga that has ended.
-- The engine decides races, and records what comes too late.
create function outrider.call_back(token text, name text, payload jsonb) returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    callback outrider.saga_callback;
    one outrider.saga;
begin
    select c.* into callback from outrider.saga_callback c where c.token = call_back.token;
    if callback.token is null then
        return false;
    end if;
    select s.* into one from outrider.saga s where s.id = callback.saga_id;
    if one.finished_at is not null then
        -- Its retention may end at this moment: the mail would lie there for ever.
        perform from outrider.saga s where s.id = one.id for key share;
    end if;
    if not found then
        return false;
    end if;
    perform outrider.mail(one, 'callback', name, payload, callback.step, callback.op, callback.send);
    if name <> 'heartbeat' then
        update outrider.saga_callback c set answered_at = clock_timestamp()
        where c.token = call_back.token and c.answered_at is null;
    end if;
    return callback.answered_at is null and one.finished_at is null and not exists (
        select from outrider.saga_callback c
        where c.saga_id = callback.saga_id and c.step = callback.step and c.op = callback.op and c.send > callback.send);
end
$$;

create function outrider.complete_step(token text, output jsonb default null) returns boolean
language sql volatile security definer
set search_path = pg_catalog, pg_temp as $$
    select outrider.call_back(token, 'complete', output)
$$;

create function outrider.fail_step(token text, error jsonb) returns boolean
language sql volatile security definer
set search_path = pg_catalog, pg_temp as $$
    select outrider.call_back(token, 'fail', error)
$$;

create function outrider.heartbeat_step(token text, extend interval) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp as $$
begin
    if extend is null or extend <= interval '0' or extend > interval '365 days' then
        raise exception 'extend is %', coalesce(extend::text, 'null') using errcode = 'OR005',
            hint = 'Say how long to wait from now on: heartbeat_step(''…'', ''10 minutes'').';
    end if;
    return outrider.call_back(token, 'heartbeat', jsonb_build_object('seconds', extract(epoch from extend)));
end
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- Operators

-- Checks what can be seen at once, then mails. The engine has the last word, and records what it refuses.
create function outrider.ask_saga(saga_id uuid, act text, payload jsonb, reason text default 'none needed') returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    one outrider.saga := outrider.find_saga(saga_id);
    -- As it will be once the mail that lies there is read.
    is_suspended boolean;
begin
    if act in ('suspend', 'resume') then
        is_suspended := coalesce(
            (select m.name = 'suspend' from outrider.saga_mail m
            where m.saga_id = one.id and m.kind = 'act' and m.name in ('suspend', 'resume') order by m.id desc limit 1),
            one.suspended);
    end if;
    if coalesce(trim(reason), '') = '' then
        raise exception 'a reason is missing' using errcode = 'OR005',
            hint = 'Say why, for whoever reads the history: …, ''customer called''.';
    elsif act in ('skip', 'resolve') and payload ->> 'step' is null then
        raise exception 'step is null' using errcode = 'OR005',
            hint = 'select trouble ->> ''step'' from outrider.sagas where id = …; tells which one the saga is stuck at.';
    elsif act = 'resolve' and payload ->> 'happened' is null then
        raise exception 'happened is null' using errcode = 'OR005',
            hint = 'Say whether it happened: resolve_step(…, ''charge'', true).';
    elsif one.finished_at is not null then
        raise exception 'saga % is % since %', one.id, one.status, one.finished_at using errcode = 'OR006',
            hint = 'A saga that has ended stays as it is.';
    elsif act in ('retry', 'skip', 'resolve') and one.status <> 'stuck' then
        raise exception 'saga % is not stuck, it is %', one.id, one.status using errcode = 'OR006',
            hint = 'select status, waiting_for from outrider.sagas where id = …; tells what it is at.';
    elsif act = 'cancel' and one.pivoted then
        raise exception 'saga % has passed its pivot', one.id using errcode = 'OR006',
            hint = 'Nothing is undone any more; it goes forward, or waits for a person when it is stuck.';
    elsif act = 'resume' and not is_suspended then
        raise exception 'saga % is not suspended', one.id using errcode = 'OR006', hint = 'There is nothing to resume.';
    elsif act = 'suspend' and is_suspended then
        raise exception 'saga % is suspended already', one.id using errcode = 'OR006',
            hint = 'select outrider.resume_saga(…); lets it go on.';
    elsif act = 'cancel' and (one.status = 'compensating' or one.trouble ->> 'interrupted' = 'compensating') then
        raise notice 'saga % is compensating already: nothing changes', one.id;
    end if;
    perform outrider.mail(one, 'act', act, payload);
end
$$;

create function outrider.cancel_saga(saga_id uuid, reason text) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp as $$
    select outrider.ask_saga(saga_id, 'cancel', jsonb_build_object('reason', reason), reason)
$$;

create function outrider.terminate_saga(saga_id uuid, reason text) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp as $$
    select outrider.ask_saga(saga_id, 'terminate', jsonb_build_object('reason', reason), reason)
$$;

create function outrider.suspend_saga(saga_id uuid, reason text default null) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp as $$
    select outrider.ask_saga(saga_id, 'suspend',
        case when reason is not null then jsonb_build_object('reason', reason) end)
$$;

create function outrider.resume_saga(saga_id uuid, reason text default null) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp as $$
    select outrider.ask_saga(saga_id, 'resume',
        case when reason is not null then jsonb_build_object('reason', reason) end)
$$;

create function outrider.retry_saga(saga_id uuid, input jsonb default null, reason text default null) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp as $$
    select outrider.ask_saga(saga_id, 'retry', nullif(
        case when input is not null then jsonb_build_object('input', input) else '{}' end
        || case when reason is not null then jsonb_build_object('reason', reason) else '{}' end, '{}'))
$$;

create function outrider.skip_step(saga_id uuid, step text, reason text, output jsonb default null) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp as $$
    select outrider.ask_saga(saga_id, 'skip', jsonb_build_object('step', step, 'reason', reason, 'output', output), reason)
$$;

create function outrider.resolve_step(
    saga_id uuid, step text, happened boolean, output jsonb default null, reason text default null
) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp as $$
    select outrider.ask_saga(saga_id, 'resolve',
        jsonb_build_object('step', step, 'happened', happened, 'output', output)
        || case when reason is not null then jsonb_build_object('reason', reason) else '{}' end)
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- What the engine says to other sagas

create function outrider.tell_child(parent uuid, step text, act text, payload jsonb) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    child outrider.saga;
begin
    select s.* into child from outrider.saga s
    where s.parent_id = parent and s.parent_step = tell_child.step order by s.id desc limit 1;
    if child.id is not null then
        perform outrider.mail(child, 'act', act, payload, by => 'saga ' || parent);
    end if;
end
$$;

create function outrider.tell_parent(child uuid, outcome jsonb) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    parent outrider.saga;
    at_step text;
begin
    select s.parent_step into at_step from outrider.saga s where s.id = child;
    select p.* into parent from outrider.saga c join outrider.saga p on p.id = c.parent_id where c.id = child;
    if parent.id is not null then
        perform outrider.mail(parent, 'child', 'ended', outcome, at_step, by => 'saga ' || child);
    end if;
end
$$;

-- Holds a share of the worker's row until the transaction ends, so that nobody gives it up meanwhile. One that has been
-- given up writes nothing: the error ends its transaction, and it begins anew. The advisory lock tells whose transaction it
-- is, for `hang_up`.
create function outrider.stay_alive(token uuid) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_advisory_xact_lock_shared(1870033014, w.id) from outrider.worker w
    where w.token = stay_alive.token for key share;
    if not found then
        raise exception 'this worker was given up for dead' using errcode = '57P01';
    end if;
end
$$;

-- A saga whose workers die again and again is not loaded once more: it is stuck, for a person.
create function outrider.park_saga(saga_id uuid, worker text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    one outrider.saga := outrider.find_saga(saga_id);
    words constant text := 'five workers in a row were lost while they had this saga';
begin
    if one.finished_at is not null or one.status = 'stuck' then
        return;
    end if;
    insert into outrider.saga_fact (saga_id, at, event, op, detail, worker)
    values (one.id, clock_timestamp(), 'stuck', 'action',
        jsonb_build_object('reason', 'abandoned', 'detail', words, 'interrupted', one.status), park_saga.worker);
    update outrider.saga s
    set status = 'stuck', owner = null, waiting_for = 'a person: abandoned',
        trouble = jsonb_build_object('type', 'abandoned', 'detail', words, 'interrupted', one.status, 'since', clock_timestamp())
    where s.id = one.id;
    insert into outrider.dead_letter (kind, saga_id, key, payload, attempts, reason, last_error)
    values ('step', one.id, one.key, one.input, 0, 'abandoned', words);
end
$$;

-- Removes sagas that ended longer ago than their retention, at most `most`, with all that belongs to them. A sub-saga stays
-- as long as its parent. Returns how many.
create function outrider.prune_sagas(most int default 1000) returns int
language plpgsql volatile
set enable_seqscan = on
set search_path = pg_catalog, pg_temp as $$
declare
    outlived uuid[] := array(
        select s.id from outrider.saga s
        where s.finished_at is not null and (s.finished_at at time zone 'UTC') + s.retention < now() at time zone 'UTC'
            and not exists (select from outrider.saga p where p.id = s.parent_id)
        order by (s.finished_at at time zone 'UTC') + s.retention
        limit most for update skip locked);
begin
    delete from outrider.saga_fact f where f.saga_id = any (outlived);
    delete from outrider.saga_mail m where m.saga_id = any (outlived);
    delete from outrider.saga_callback c where c.saga_id = any (outlived);
    delete from outrider.saga_key k using outrider.saga s
    where s.id = any (outlived) and k.name = s.name and k.key = s.key and k.saga_id = s.id;
    delete from outrider.saga s where s.id = any (outlived);
    return cardinality(outlived);
end
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- Views

create view outrider.sagas as
select s.id, s.name as saga, s.version, s.key, s.status, s.suspended,
    -- Of one that a worker has in memory it says what it waited for before.
    case when s.owner is null then s.waiting_for end as waiting_for,
    coalesce(s.failure, s.trouble) as failure, s.input, s.output, s.skipped, s.started_at, s.deadline, s.finished_at,
    s.trouble, s.parent_id, s.parent_step, s.hash, w.name as worker
from outrider.saga s
left join outrider.worker w on w.token = s.owner;

create view outrider.saga_history as
select f.seq, f.saga_id, f.at, f.event, f.step, f.op, f.attempt, f.detail, f.worker
from outrider.saga_fact f;

-- What a step has come to is told by the last event of its action, and by that of its compensation. Steps of the first level
-- that a running saga has not come to yet are pending.
create view outrider.saga_steps as
with step as (
    select f.saga_id, f.step,
        max(f.seq) filter (where f.op = 'action' and f.event = 'started') as start_seq,
        (array_agg(case when f.event = 'started' and f.detail ?| array['timer', 'signal', 'child'] then 'waiting' else f.event end
            order by f.seq desc) filter (where f.op = 'action' and f.event not in ('late', 'resolved', 'stuck')))[1] as last_event,
        (array_agg(f.event order by f.seq desc)
            filter (where f.op = 'compensate' and f.event not in ('late', 'resolved', 'stuck')))[1] as last_undo,
        max(f.attempt) filter (where f.op = 'action') as attempts,
        max(f.attempt) filter (where f.op = 'compensate') as compensation_attempts,
        (array_agg(f.detail -> 'input' order by f.seq desc)
            filter (where f.op = 'action' and f.event in ('started', 'retried') and f.detail ? 'input'))[1] as input,
        (array_agg(f.detail -> 'output' order by f.seq desc)
            filter (where f.op = 'action' and f.event in ('succeeded', 'skipped')))[1] as output,
        (array_agg(f.detail -> 'error' order by f.seq desc)
            filter (where f.op = 'action' and f.detail ? 'error'))[1] as error,
        (array_agg(f.detail -> 'error' order by f.seq desc)
            filter (where f.op = 'compensate' and f.detail ? 'error'))[1] as undo_error,
        max(f.at) filter (where f.op = 'action' and f.event = 'started') as started_at,
        max(f.at) filter (where f.op = 'action' and f.event in ('succeeded', 'failed', 'unknown', 'skipped')) as finished_at
    from outrider.saga_fact f
    where f.step is not null
    group by f.saga_id, f.step
), to_undo as (
    select distinct f.saga_id, t.step
    from outrider.saga_fact f
    cross join lateral jsonb_array_elements_text(f.detail -> 'steps') t (step)
    where f.event = 'compensating'
)
select s.saga_id, s.step, s.start_seq,
    case
        when s.last_event in ('succeeded', 'failed', 'unknown', 'skipped') then s.last_event
        when s.last_event in ('started', 'sent', 'received') then 'running'
        when s.last_event is null then 'pending'
        else 'waiting'
    end as status,
    coalesce(s.attempts, 0) as attempts, s.input, s.output,
    case
        when s.last_undo not in ('succeeded', 'skipped') and s.undo_error is not null then s.undo_error
        when s.last_event not in ('succeeded', 'skipped') then s.error
    end as error,
    case
        when s.last_undo = 'succeeded' then 'compensated'
        when s.last_undo in ('failed', 'unknown') then 'failed'
        when s.last_undo = 'skipped' then 'skipped'
        when s.last_undo is not null then 'running'
        when u.step is not null then 'pending'
        else 'not_required'
    end as compensation_status,
    coalesce(s.compensation_attempts, 0) as compensation_attempts, s.started_at,
    case when s.last_event in ('succeeded', 'failed', 'unknown', 'skipped') then s.finished_at end as finished_at
from step s
left join to_undo u on u.saga_id = s.saga_id and u.step = s.step
union all
select s.id, t.step ->> 'id', null, 'pending', 0, null, null, null, 'not_required', 0, null, null
from outrider.saga s
join outrider.definition d on d.kind = 'saga' and d.name = s.name and d.hash = s.hash
cross join lateral jsonb_array_elements(d.content -> 'steps') t (step)
where s.status in ('running', 'stuck') and s.failure is null
    and not exists (select from outrider.saga_fact f where f.saga_id = s.id and f.step = t.step ->> 'id');
