-- The log of messages, the subscriptions, and the queue between them.

-- Names are fixed in the database itself, so that a function can be found by what it does:
--   outbox        what was published, written once
--   delivery      one narrow row per message and subscription that is ready or in flight; only ever read forward
--   scheduled     what is due later: delayed messages and retries; enters `delivery` with a new id when due

-- ---------------------------------------------------------------------------------------------------------------
-- Ids

-- UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, random bits, and in the last 32 bits the transaction's id.
-- The last part tells an id that this transaction generated from one that a caller chose, without keeping a list.
-- In plpgsql, which keeps its plan for the session; an SQL function would be parsed and inlined by every statement. Its names
-- are written out because setting a search_path for each row would cost more than the rest of it.
create function outrider.uuid_v7() returns uuid
language plpgsql volatile parallel unsafe as $$
begin
    return pg_catalog.encode(
        pg_catalog.set_bit(pg_catalog.set_bit(
            overlay(overlay(pg_catalog.uuid_send(pg_catalog.gen_random_uuid())
                placing substring(pg_catalog.int8send((pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())
                    operator(pg_catalog.*) 1000)::bigint) from 3) from 1 for 6)
                placing pg_catalog.xidsend(pg_catalog.pg_current_xact_id()::pg_catalog.xid) from 13 for 4),
            52, 1), 53, 1), 'hex')::pg_catalog.uuid;
end
$$;

-- The bodies of these two are parsed here and now, so no search_path of a caller changes them.
create function outrider.is_generated(id uuid) returns boolean
language sql stable parallel unsafe
return substring(uuid_send(id) from 13) = xidsend(pg_current_xact_id()::xid);

-- The smallest UUIDv7 of an instant: bounds of partitions and of a replay.
create function outrider.uuid_v7_floor(at timestamptz) returns uuid
language sql immutable parallel safe
return encode(substring(int8send((extract(epoch from at) * 1000)::bigint) from 3)
    || '\x70008000000000000000'::bytea, 'hex')::uuid;

-- ---------------------------------------------------------------------------------------------------------------
-- What the workflow files declare

create table outrider.definition (
    kind text not null,
    name text not null,
    hash text not null,
    content jsonb not null,
    applied_at timestamptz not null default clock_timestamp(),
    applied_by text not null,
    replaced_at timestamptz,
    primary key (kind, name, hash)
);
create unique index definition_current on outrider.definition (kind, name) where replaced_at is null;
comment on table outrider.definition is 'Every content that was ever applied under a name; the one in force has no replaced_at.';

create table outrider.subscription (
    id int generated always as identity primary key,
    name text not null unique,
    topics text[] not null,
    -- A topic matches when it is one of the exact ones or fits the expression that the wildcards were joined into.
    exact_topics text[] not null,
    topic_expression text,
    created_at timestamptz not null default clock_timestamp(),
    paused_at timestamptz,
    paused_by text
);

create table outrider.topic (
    name text primary key,
    retention interval not null,
    dedupe_window interval not null
);
comment on table outrider.topic is 'Policy of the topics that a file declares; all others have the defaults: 1 day, 24 hours.';

create table outrider.endpoint (
    name text primary key,
    url text not null
);

-- ---------------------------------------------------------------------------------------------------------------
-- The log

create table outrider.outbox (
    id uuid not null default outrider.uuid_v7(),
    topic text not null,
    key text,
    payload jsonb not null,
    headers jsonb,
    deliver_at timestamptz,
    expires_at timestamptz,
    dedupe_key text,
    published_at timestamptz not null default clock_timestamp(),
    primary key (id)
) partition by range (id);
comment on table outrider.outbox is 'The log of messages. Insert here, in your own transaction; Outrider delivers when it commits.';

-- A missing partition must never abort an application's transaction.
create table outrider.outbox_default partition of outrider.outbox default;

create table outrider.outbox_partition (
    name text primary key,
    lower_at timestamptz not null unique,
    upper_at timestamptz not null,
    -- Filled once the partition is closed: what decides how long it is kept.
    topics text[]
);

-- Ids that callers chose, and keys that were seen: unpartitioned, so that they hold over all partitions.
create table outrider.chosen_id (
    id uuid primary key,
    at timestamptz not null default clock_timestamp()
);
create index chosen_id_at on outrider.chosen_id (at);

create table outrider.dedupe (
    topic text not null,
    dedupe_key text not null,
    message_id uuid not null,
    expires_at timestamptz not null,
    primary key (topic, dedupe_key)
);
create index dedupe_expires_at on outrider.dedupe (expires_at);

create table outrider.cancelled_message (
    message_id uuid primary key,
    at timestamptz not null default clock_timestamp(),
    by text not null default session_user
);

-- ---------------------------------------------------------------------------------------------------------------
-- The queue

create sequence outrider.delivery_id as bigint cache 1;

create table outrider.delivery (
    -- Drawn right before the insert, after all locks and checks: the workers' floor relies on it.
    id bigint not null default nextval('outrider.delivery_id'),
    subscription_id int not null,
    attempts int not null default 0,
    rescues smallint not null default 0,
    replay boolean not null default false,
    message_id uuid not null,
    first_tried_at timestamptz,
    owner uuid,
    primary key (subscription_id, id)
) with (
    -- A claim updates the row in place and an acknowledgement deletes it soon after: room on the page keeps the claim
    -- a heap-only update, and vacuum has to come early.
    fillfactor = 55, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 1
);
comment on column outrider.delivery.owner is 'Token of the worker that claimed the row; null while it is ready.';

create table outrider.scheduled (
    id bigint generated always as identity primary key,
    due_at timestamptz not null,
    subscription_id int not null,
    attempts int not null default 0,
    rescues smallint not null default 0,
    replay boolean not null default false,
    message_id uuid not null,
    first_tried_at timestamptz
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);
create index scheduled_due_at on outrider.scheduled (due_at);

-- ---------------------------------------------------------------------------------------------------------------
-- Waking workers
--
-- NOTIFY serialises commits, so publishers must not pay for it under load. A worker that has nothing to do for a
-- subscription takes the subscription's sleep lock exclusively and sleeps on LISTEN. Whoever makes work tries the same lock
-- shared, for the rest of its transaction, and only when that fails does it NOTIFY. While work is going on nobody sleeps, the
-- lock is free, and a commit costs no notification. Locks are released after the commit is visible, so nothing is missed.
--
-- Advisory locks of Outrider have as their first key 1870033010 ("outr") and the numbers that follow:
--   …010 sleep, per subscription    …011 a worker's life, per worker    …012 housekeeping    …013 migration and apply

create function outrider.wake(subscriptions int[]) returns void
language sql volatile
set search_path = pg_catalog, pg_temp as $$
    select count(pg_notify('outrider_wake', s::text))
    from unnest(subscriptions) s
    where not pg_try_advisory_xact_lock_shared(1870033010, s)
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- Publishing

-- Guards ids that callers chose and keys that were seen. The trigger's condition is written out with built-in functions: a
-- function of our own in it would be planned anew by every statement, and cost a third of the publishers' throughput.
create function outrider.outbox_guard() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
    -- Rows that housekeeping moves inside the log were checked when they were published.
    if current_setting('outrider.moving', true) = 'on' then
        return new;
    end if;
    if new.dedupe_key is not null then
        -- A second publisher waits here for the first one's commit.
        insert into outrider.dedupe as d (topic, dedupe_key, message_id, expires_at)
        values (new.topic, new.dedupe_key, new.id, clock_timestamp() + coalesce(
            (select t.dedupe_window from outrider.topic t where t.name = new.topic), interval '24 hours'))
        on conflict (topic, dedupe_key) do update
            set message_id = excluded.message_id, expires_at = excluded.expires_at
            where d.expires_at <= clock_timestamp();
        if not found then
            return null;
        end if;
    end if;
    if not outrider.is_generated(new.id) then
        insert into outrider.chosen_id (id) values (new.id) on conflict do nothing;
        if not found or exists (select from outrider.outbox o where o.id = new.id) then
            raise exception 'message id % exists', new.id using errcode = 'OR008',
                hint = 'Leave the id out to get a new one, or treat this as "already published".';
        end if;
    end if;
    return new;
end
$$;

create trigger guard before insert on outrider.outbox for each row
when (new.dedupe_key is not null
    -- not outrider.is_generated(new.id)
    or substring(uuid_send(new.id) from 13) <> xidsend(pg_current_xact_id()::xid))
execute function outrider.outbox_guard();

-- Says which of the published rows is malformed, and how.
create function outrider.refuse_malformed(topic text, headers jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp as $$
begin
    if topic !~ '^[a-z][a-z0-9.-]*$' or length(topic) > 255 then
        raise exception 'topic % is not a topic name', quote_literal(left(topic, 80)) using errcode = 'OR005',
            hint = 'A topic name is 1 to 255 of a-z, 0-9, dots and dashes, and begins with a letter: order.created';
    end if;
    raise exception 'headers % are not an object of strings', left(headers::text, 80) using errcode = 'OR005',
        hint = 'Give an object whose values are strings: {"correlation_id": "42"}';
end
$$;

-- Most of a publisher's time goes into starting statements, not into rows, so one statement checks, routes and wakes. In it:
-- the lateral subquery makes every row be read, and so checked, even when there is no subscription at all; `offset 0` keeps
-- the try for a sleep lock out of its condition, so that only subscriptions that match are locked; and a row that is due
-- later raises a flag, the second statement's condition, since asking the rows again would cost as much as routing them.
create function outrider.outbox_route() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
    insert into outrider.delivery (subscription_id, message_id)
    select case when pg_try_advisory_xact_lock_shared(1870033010, s.id)
        or pg_notify('outrider_wake', s.id::text) is not null then s.id end, m.id
    from published m
    cross join lateral (
        select s.id from outrider.subscription s
        where m.topic = any (s.exact_topics) or m.topic ~ s.topic_expression
        offset 0
    ) s
    where case
        when m.topic !~ '^[a-z][a-z0-9.-]*$' or length(m.topic) > 255
            or jsonb_typeof(m.headers) <> 'object' or m.headers @? 'strict $.* ? (@.type() != "string")'
        then outrider.refuse_malformed(m.topic, m.headers) is not null
        when m.deliver_at > now() then set_config('outrider.some_later', 'on', true) is null
        else true
    end;

    if current_setting('outrider.some_later', true) = 'on' then
        perform set_config('outrider.some_later', '', true);
        insert into outrider.scheduled (due_at, subscription_id, message_id)
        select m.deliver_at, s.id, m.id
        from published m
        join outrider.subscription s on m.topic = any (s.exact_topics) or m.topic ~ s.topic_expression
        where m.deliver_at > now();
    end if;
    return null;
end
$$;

create trigger route after insert on outrider.outbox
referencing new table as published
for each statement execute function outrider.outbox_route();

create function outrider.publish(
    topic text, payload jsonb, key text default null, headers jsonb default null, id uuid default null,
    deliver_at timestamptz default null, expires_at timestamptz default null, dedupe_key text default null
) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    published uuid;
begin
    if publish.topic is null or publish.payload is null then
        raise exception '% is null', case when publish.topic is null then 'topic' else 'payload' end using errcode = 'OR005',
            hint = 'Give a topic and a payload; for an empty one: publish(''order.created'', ''{}'').';
    end if;
    insert into outrider.outbox as o (id, topic, key, payload, headers, deliver_at, expires_at, dedupe_key)
    values (coalesce(publish.id, outrider.uuid_v7()), publish.topic, publish.key, publish.payload, publish.headers,
        publish.deliver_at, publish.expires_at, publish.dedupe_key)
    returning o.id into published;
    if published is null then
        select d.message_id into published
        from outrider.dedupe d
        where d.topic = publish.topic and d.dedupe_key = publish.dedupe_key;
    end if;
    return published;
end
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- Partitions of the log: one a day

-- Makes the partitions of today and the days that follow. Returns how many were made.
create function outrider.make_partitions(days int default 8) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    day timestamptz;
    partition text;
    made int := 0;
begin
    for i in 0 .. days - 1 loop
        day := date_trunc('day', now(), 'UTC') + i * interval '1 day';
        partition := 'outbox_' || to_char(day at time zone 'UTC', 'YYYYMMDD');
        continue when exists (select from outrider.outbox_partition p where p.name = partition);
        perform set_config('lock_timeout', '200ms', true);
        execute format('create table outrider.%I (like outrider.outbox including defaults including constraints)', partition);
        -- What a caller's own id put into the default partition belongs here now, else the attach would be refused. The lock,
        -- which the attach takes too, keeps others from putting more there in between.
        lock table outrider.outbox_default in access exclusive mode;
        perform set_config('outrider.moving', 'on', true);
        execute format(
            'with moved as (delete from outrider.outbox_default where id >= %1$L and id < %2$L returning *)
             insert into outrider.%3$I select * from moved',
            outrider.uuid_v7_floor(day), outrider.uuid_v7_floor(day + interval '1 day'), partition);
        execute format('alter table outrider.outbox attach partition outrider.%I for values from (%L) to (%L)',
            partition, outrider.uuid_v7_floor(day), outrider.uuid_v7_floor(day + interval '1 day'));
        perform set_config('outrider.moving', '', true);
        insert into outrider.outbox_partition (name, lower_at, upper_at) values (partition, day, day + interval '1 day');
        made := made + 1;
    end loop;
    return made;
end
$$;

-- Drops one partition whose retention has passed, after moving aside what is still to be delivered. Returns its name, or
-- null when there is none to drop. Publishers wait while it
-- waits for a lock, so it gives up after 100 ms (55P03) and is called again later.
create function outrider.drop_expired_partition() returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    candidate outrider.outbox_partition;
    longest interval;
begin
    for candidate in
        select p.* from outrider.outbox_partition p where p.upper_at < now() order by p.lower_at
    loop
        if candidate.topics is null then
            -- An hour later nothing new arrives but from transactions that are still open; those end up in `delivery`.
            continue when candidate.upper_at > now() - interval '1 hour';
            execute format('select coalesce(array_agg(distinct topic), ''{}'') from outrider.%I', candidate.name)
                into candidate.topics;
            update outrider.outbox_partition p set topics = candidate.topics where p.name = candidate.name;
        end if;
        select coalesce(max(coalesce(t.retention, interval '1 day')), interval '0') into longest
        from unnest(candidate.topics) topic
        left join outrider.topic t on t.name = topic;
        continue when candidate.upper_at + longest > now();

        perform set_config('lock_timeout', '100ms', true);
        execute format('alter table outrider.outbox detach partition outrider.%I', candidate.name);
        perform set_config('outrider.moving', 'on', true);
        execute format(
            'insert into outrider.outbox_default
             select m.* from outrider.%I m
             left join outrider.topic t on t.name = m.topic
             where exists (select from outrider.delivery d where d.message_id = m.id)
                or exists (select from outrider.scheduled s where s.message_id = m.id)
                or m.published_at > now() - coalesce(t.retention, interval ''1 day'')', candidate.name);
        perform set_config('outrider.moving', '', true);
        execute format('drop table outrider.%I', candidate.name);
        delete from outrider.outbox_partition p where p.name = candidate.name;
        return candidate.name;
    end loop;
    return null;
end
$$;

select outrider.make_partitions();
