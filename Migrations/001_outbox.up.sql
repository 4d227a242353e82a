-- The log of messages, the subscriptions, and the queue between them.

-- Names are fixed in the database itself, so that a function can be found by what it does:
--   outbox        what was published, written once
--   route         which topics go to which subscription: all that a publisher reads of it
--   delivery      one narrow row per message and subscription that is ready or in flight; only ever read forward
--   scheduled     what is due later: delayed messages and retries; enters `delivery` with a new id when due
--   backlog       what waits for an earlier message of its key; see 006

-- ---------------------------------------------------------------------------------------------------------------
-- Ids

-- UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, random bits, and in the last 32 bits the transaction's id.
-- The last part tells an id that this transaction generated from one that a caller chose, without keeping a list.
create function outrider.uuid_v7() returns uuid
language sql volatile parallel unsafe
set search_path = pg_catalog, pg_temp as $$
    select encode(
        set_bit(set_bit(
            overlay(overlay(uuid_send(gen_random_uuid())
                placing substring(int8send(floor(date_part('epoch', clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6)
                placing xidsend(pg_current_xact_id()::xid) from 13 for 4),
            52, 1), 53, 1), 'hex')::uuid
$$;

create function outrider.is_generated(id uuid) returns boolean
language sql stable parallel unsafe
return substring(uuid_send(id) from 13) = xidsend(pg_current_xact_id()::xid);

-- The smallest UUIDv7 of an instant: bounds of partitions and of a replay. Instants that an id cannot hold are taken for the
-- nearest that it can.
create function outrider.uuid_v7_floor(at timestamptz) returns uuid
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp as $$
    select encode(substring(int8send(
            (greatest(0, least(281474976710655, extract(epoch from least(greatest(at, 'epoch'), '9999-01-01 UTC')) * 1000)))::bigint)
        from 3) || '\x70008000000000000000'::bytea, 'hex')::uuid
$$;

-- The instant that a UUIDv7 was made at, to the millisecond.
create function outrider.uuid_v7_time(id uuid) returns timestamptz
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp as $$
    select timestamptz 'epoch'
        + ('x' || encode(substring(uuid_send(id) for 6), 'hex'))::bit(48)::bigint * interval '1 millisecond'
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- What the workflow files declare

create table outrider.definition (
    kind text not null,
    name text not null,
    hash text not null,
    content jsonb not null,
    -- Of a saga: nothing else may ever be applied under it.
    version int generated always as ((content ->> 'version')::int) stored,
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
    created_at timestamptz not null default clock_timestamp(),
    paused_at timestamptz,
    paused_by text,
    -- Set while messages from before it was applied are being looked for (`from:`); nothing is delivered meanwhile, so that
    -- what was routed already can be told from what was not.
    opening boolean not null default false,
    -- The saga that a message starts (`start_on`); null for a subscription with a handler.
    saga text,
    -- Whether a message that became a dead letter holds its key up (`on_exhausted: block`).
    blocks boolean not null default false,
    -- A removed subscription has no route. Its row stays: transactions that were open may still bring it a delivery, which
    -- then becomes a dead letter, and letters can be redriven when it is applied again.
    removed_at timestamptz
);

-- The limits of a topic that has any; what becomes of them is told at the head of 007. A gate that is open has neither a limit
-- nor a route, and is kept, as are its sequences: a publisher with an old snapshot may still be about to ask them.
create table outrider.gate (
    id int generated always as identity primary key,
    topic text not null unique,
    max_backlog int,
    overflow text not null default 'reject' check (overflow in ('reject', 'block', 'drop_oldest', 'drop_newest')),
    block_for interval not null default '0',
    -- As the file has it, and in messages a second.
    publish_rate text,
    per_second float8,
    -- Sequences: they are read and written outside of transactions, without waiting, and leave no old versions behind.
    permits regclass,
    reading regclass,
    due regclass
);

create table outrider.route (
    -- Below zero: the gate of a topic, which messages pass and are not delivered to; see 007.
    subscription_id int primary key,
    -- A topic matches when it is one of the exact ones or fits the expression that the wildcards were joined into.
    exact_topics text[] not null,
    topic_expression text,
    -- How many messages of one key may be out at once: 1 of an ordered subscription; null for any number.
    per_key int,
    -- While a keyed subscription is opened, what is published waits for what was published before.
    opening boolean not null default false,
    -- Whether a message needs no more than its row in the queue.
    is_plain boolean not null generated always as (per_key is null and subscription_id > 0) stored,
    -- Of a gate, copied from its row.
    permits regclass
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
    -- outrider.uuid_v7(), written out: calling a function would cost a publisher a tenth of its throughput.
    id uuid not null default encode(
        set_bit(set_bit(
            overlay(overlay(uuid_send(gen_random_uuid())
                placing substring(int8send(floor(date_part('epoch', clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6)
                placing xidsend(pg_current_xact_id()::xid) from 13 for 4),
            52, 1), 53, 1), 'hex')::uuid,
    -- Neither this nor the payload is ever null: the trigger `route` refuses that, in words of our own.
    topic text,
    key text,
    payload jsonb,
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

-- What the log had and dropped, so that a replay can tell where it has gaps. A row per partition; that of the default partition,
-- whose rows go one by one, says how far back that has come.
create table outrider.dropped_partition (
    name text primary key,
    lower_at timestamptz not null,
    upper_at timestamptz not null,
    topics text[] not null,
    dropped_at timestamptz not null default clock_timestamp()
);

-- Ids that callers chose, and keys that were seen: unpartitioned, so that they hold over all partitions.
create table outrider.chosen_id (
    id uuid primary key,
    -- When the message was published, for replays.
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
    -- An operator sent a dead letter again: it has been sent before, and its expiry was overruled.
    redriven boolean not null default false,
    message_id uuid not null,
    first_tried_at timestamptz,
    owner uuid,
    -- Of keyed subscriptions, see 006: the hash of the message's key and its place among the messages of that key.
    key bigint,
    place bigint,
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
    due_at timestamptz not null check (isfinite(due_at)),
    subscription_id int not null,
    attempts int not null default 0,
    rescues smallint not null default 0,
    replay boolean not null default false,
    redriven boolean not null default false,
    message_id uuid not null,
    first_tried_at timestamptz,
    -- As in `delivery`; a keyed message without a place is given one when it comes due.
    key bigint,
    place bigint
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);
create index scheduled_due_at on outrider.scheduled (due_at);

-- Of keyed subscriptions; what each is for is told at the head of 006.
create sequence outrider.place as bigint cache 1;

create table outrider.backlog (
    subscription_id int not null,
    key bigint not null,
    place bigint not null,
    replay boolean not null,
    redriven boolean not null,
    message_id uuid not null,
    primary key (subscription_id, key, place)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);

create table outrider.arrival (
    id bigint generated always as identity primary key,
    subscription_id int not null,
    key bigint not null,
    -- Published before the subscription was applied: comes first.
    is_old boolean not null,
    replay boolean not null,
    redriven boolean not null,
    message_id uuid not null
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);
create index arrival_key on outrider.arrival (subscription_id, key);
create index arrival_order on outrider.arrival (is_old desc, id);

create table outrider.active_slot (
    lane int not null,
    since bigint not null,
    key bigint not null,
    -- With the key, so that rows of other keys, which may be dead, are told in the index.
    primary key (lane, since, key)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);

create table outrider.held_slot (
    subscription_id int not null,
    key bigint not null,
    since bigint not null,
    primary key (subscription_id, key, since)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);

create table outrider.lane_floor (
    lane int not null,
    floor bigint not null,
    primary key (lane, floor)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);

-- The lane whose floor was raised last, counted on and on.
create sequence outrider.settling as bigint cache 1;

create table outrider.key_check (
    id bigint generated always as identity primary key,
    due_at timestamptz not null,
    subscription_id int not null,
    key bigint not null,
    -- The place that the key has reached, and how many of its slots are free; without any, it calls for a look at the arrivals.
    place bigint not null,
    slots int not null
);
create index key_check_due_at on outrider.key_check (due_at);

-- ---------------------------------------------------------------------------------------------------------------
-- Waking workers
--
-- NOTIFY serialises commits, so publishers must not pay for it under load. A worker that has nothing to do for a
-- subscription takes the subscription's sleep lock exclusively and sleeps on LISTEN. Whoever makes work tries the same lock
-- shared, for the rest of its transaction, and only when that fails does it NOTIFY. While work is going on nobody sleeps, the
-- lock is free, and a commit costs no notification. Locks are released after the commit is visible, so nothing is missed.
--
-- Advisory locks of Outrider have as their first key 1870033010 ("outr") and the numbers that follow:
--   …010 sleep, per subscription    …011 a worker's life, per worker    …012 the lead    …013 migration and apply
--   …014 transactions of a worker with sagas, per worker    …015 the redrive of a saga's dead letter
--   …016 a lane of keys (256 of each keyed subscription)    …017 changes of shares of limits
--   …019 the booking at a topic's rate, per gate    …020 the workers that serve a schedule, shared, per schedule

-- Has a subscription's sleeping worker wake up when this commits. Always true, so as to stand in a condition.
create function outrider.wake_one(subscription_id int) returns boolean
language sql volatile
return pg_try_advisory_xact_lock_shared(1870033010, subscription_id)
    or pg_notify('outrider_wake', subscription_id::text) is not null;

create function outrider.wake(subscriptions int[]) returns void
language sql volatile
set search_path = pg_catalog, pg_temp as $$
    select count(outrider.wake_one(s)) from unnest(subscriptions) s
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- Publishing

-- A publisher pays for two triggers. What both do for every message has the owner's rights and no `search_path` of its own, since
-- to change the path and back costs as much as to route a message. So that a caller's path finds nothing to choose, these
-- functions call everything by its full name and use no operator: what needs one is a function of a parsed body, in which all
-- names were resolved when it was made, and which the planner puts in its place. What is done for few messages is in functions
-- with a path.

-- Whether neither the id nor a key has to be looked up.
create function outrider.is_unguarded(id uuid, dedupe_key text) returns boolean
language sql stable parallel unsafe
return dedupe_key is null and outrider.is_generated(id);

-- Guards ids that callers chose and keys that were seen. Says whether the message is written at all.
create function outrider.guard(id uuid, topic text, dedupe_key text, published_at timestamptz) returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
begin
    -- Rows that housekeeping moves inside the log were checked when they were published. An application cannot claim to be it.
    if current_setting('outrider.moving', true) = 'on' and (pg_has_role(session_user, 'outrider_operator', 'member')
        or pg_has_role(session_user, (select c.relowner from pg_class c where c.oid = 'outrider.outbox'::regclass), 'member'))
    then
        return true;
    end if;
    if dedupe_key is not null then
        if octet_length(dedupe_key) > 1000 then
            raise exception 'dedupe_key has % bytes', octet_length(dedupe_key) using errcode = 'OR005',
                hint = 'A deduplication key has at most 1000 bytes; hash what is longer.';
        end if;
        -- A second publisher waits here for the first one's commit.
        insert into outrider.dedupe as d (topic, dedupe_key, message_id, expires_at)
        values (guard.topic, guard.dedupe_key, guard.id, clock_timestamp() + coalesce(
            (select t.dedupe_window from outrider.topic t where t.name = guard.topic), interval '24 hours'))
        on conflict on constraint dedupe_pkey do update
            set message_id = excluded.message_id, expires_at = excluded.expires_at
            where d.expires_at <= clock_timestamp();
        if not found then
            return false;
        end if;
    end if;
    if not outrider.is_generated(id) then
        insert into outrider.chosen_id (id, at) values (guard.id, guard.published_at)
        on conflict on constraint chosen_id_pkey do nothing;
        if not found or exists (select from outrider.outbox o where o.id = guard.id) then
            raise exception 'message id % exists', id using errcode = 'OR008',
                hint = 'Leave the id out to get a new one, or treat this as "already published".';
        end if;
    end if;
    return true;
end
$$;

-- Without a WHEN: that would be planned anew by every statement, which costs more than the call.
create function outrider.outbox_guard() returns trigger
language plpgsql security definer as $$
begin
    if outrider.is_unguarded(new.id, new.dedupe_key) then
        return new;
    elsif outrider.guard(new.id, new.topic, new.dedupe_key, new.published_at) then
        return new;
    end if;
    return null;
end
$$;

create trigger guard before insert on outrider.outbox for each row execute function outrider.outbox_guard();

create function outrider.is_malformed(topic text, payload jsonb, headers jsonb, deliver_at timestamptz) returns boolean
language sql immutable
return case
    when octet_length(topic) < 256 and ascii(topic) between 97 and 122  -- a to z
        -- Characters are counted off: a regular expression would take several times as long.
        and btrim(topic, 'abcdefghijklmnopqrstuvwxyz0123456789.-') = ''
        and payload is not null and isfinite(deliver_at) is not false
        and (headers is null or jsonb_typeof(headers) = 'object'
            and not headers @? 'strict $.* ? (@.type() != "string")')
    then false
    else true
end;

-- Says how a message is malformed.
create function outrider.refuse_malformed(topic text, payload jsonb, headers jsonb, deliver_at timestamptz) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp as $$
begin
    if topic is null or payload is null then
        raise exception '% is null', case when topic is null then 'topic' else 'payload' end using errcode = 'OR005',
            hint = 'Give a topic and a payload; for an empty one: publish(''order.created'', ''{}'').';
    elsif topic !~ '^[a-z][a-z0-9.-]{0,254}$' then
        raise exception 'topic % is not a topic name', quote_literal(left(topic, 80)) using errcode = 'OR005',
            hint = 'A topic name is 1 to 255 of a-z, 0-9, dots and dashes, and begins with a letter: order.created';
    elsif not isfinite(deliver_at) then
        raise exception 'deliver_at is %', deliver_at using errcode = 'OR005',
            hint = 'Give a time, or leave it out to deliver at once.';
    end if;
    raise exception 'headers % are not an object of strings', left(headers::text, 80) using errcode = 'OR005',
        hint = 'Give an object whose values are strings: {"correlation_id": "42"}';
end
$$;

-- Whether a topic is among those of a route.
create function outrider.goes_to(topic text, exact_topics text[], topic_expression text) returns boolean
language sql immutable
return topic = any (exact_topics) or topic ~ topic_expression;

-- Whether a message needs no more than its row in the queue.
create function outrider.goes_straight(is_plain boolean, deliver_at timestamptz) returns boolean
language sql stable
return is_plain and (deliver_at is null or deliver_at <= now());

-- Whether a gate lets a message pass without a further look, by one of the permits that it has given beforehand; see 007. Not true
-- of what is no gate.
create function outrider.is_permitted(permits regclass) returns boolean
language sql volatile
return nextval(permits) <= 0;

-- Raise a flag for `route_rest`: something is left to do; a gate has stopped one message more. Always false, as nothing goes into
-- the queue then.
create function outrider.leave_rest() returns boolean
language sql volatile
return set_config('outrider.more', 'on', true) is null;

create function outrider.stop_at_gate(subscription_id int) returns boolean
language sql volatile
return concat(
    set_config('outrider.gate' || -subscription_id,
        (coalesce(nullif(current_setting('outrider.gate' || -subscription_id, true), ''), '0')::int + 1)::text, true),
    set_config('outrider.gated', 'on', true),
    set_config('outrider.more', coalesce(nullif(current_setting('outrider.more', true), ''), 'gated'), true)) is null;

create function outrider.has_rest() returns boolean
language sql stable
return current_setting('outrider.more', true) <> '';

-- Whether a message of which more has to be known goes into a route's queue with its statement.
create function outrider.examine(
    topic text, payload jsonb, headers jsonb, deliver_at timestamptz,
    subscription_id int, is_plain boolean, permits regclass
) returns boolean
language plpgsql volatile as $$
begin
    -- A gate has been found by its topic, which is well formed.
    if permits is null or payload is null or headers is not null or deliver_at is not null then
        if outrider.is_malformed(topic, payload, headers, deliver_at) then
            perform outrider.refuse_malformed(topic, payload, headers, deliver_at);
        end if;
    end if;
    if outrider.goes_straight(is_plain, deliver_at) then
        return outrider.wake_one(subscription_id);
    elsif permits is null then  -- a subscription, or nobody has subscribed
        return subscription_id is not null and outrider.leave_rest();
    end if;
    return not outrider.is_permitted(permits) and outrider.stop_at_gate(subscription_id);
end
$$;

-- The same of every message, and quickly of the usual one, also at a gate. A topic is well formed that some route names.
create function outrider.enters_queue(
    topic text, payload jsonb, headers jsonb, deliver_at timestamptz,
    subscription_id int, is_plain boolean, exact_topics text[], permits regclass
) returns boolean
language sql volatile
return case
    when is_plain and topic = any (exact_topics) and payload is not null and headers is null and deliver_at is null
        and pg_try_advisory_xact_lock_shared(1870033010, subscription_id)
    then true
    when payload is not null and headers is null and deliver_at is null and outrider.is_permitted(permits)
    then false
    else outrider.examine(topic, payload, headers, deliver_at, subscription_id, is_plain, permits)
end;

-- What a statement has published and `outbox_route` has not put into the queue: messages that gates have stopped, of later, and
-- of keys.
create function outrider.route_rest(ids uuid[], topics text[], keys text[], times timestamptz[]) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    more constant text := current_setting('outrider.more');
    asked record;
    held int[];
    -- What is not delivered, pair by pair, for the topic's file says `overflow: drop_newest`.
    held_topics text[];
    held_subscriptions int[];
begin
    perform set_config('outrider.more', '', true);
    if current_setting('outrider.gated', true) = 'on' then
        perform set_config('outrider.gated', '', true);
        for asked in
            select g as gate, g.topic, m.count
            from (select t.topic, count(*)::int as count from unnest(topics) t (topic) group by t.topic) m
            join outrider.gate g on g.topic = m.topic
            order by g.topic
        loop
            held := outrider.pass(asked.gate, asked.count);
            if held is not null then
                held_subscriptions := held_subscriptions || held;
                held_topics := held_topics || array_fill(asked.topic, array[cardinality(held)]);
            end if;
        end loop;
        if held_topics is not null then
            perform outrider.hold(array_agg(h.subscription_id), array_agg(m.topic), array_agg(m.id),
                array_agg(outrider.goes_straight(r.is_plain, m.deliver_at)))
            from unnest(ids, topics, times) m (id, topic, deliver_at)
            join unnest(held_topics, held_subscriptions) h (topic, subscription_id) on h.topic = m.topic
            join outrider.route r on r.subscription_id = h.subscription_id
            having count(*) > 0;
        end if;
    end if;
    if more <> 'on' then
        return;
    end if;
    insert into outrider.scheduled (due_at, subscription_id, message_id, key)
    select m.deliver_at, r.subscription_id, m.id, case when not r.is_plain then hashtextextended(m.key, 0) end
    from unnest(ids, topics, keys, times) m (id, topic, key, deliver_at)
    join outrider.route r
        on r.subscription_id > 0 and outrider.goes_to(m.topic, r.exact_topics, r.topic_expression)
    where m.deliver_at > now() and (held_topics is null or not exists (
        select from unnest(held_topics, held_subscriptions) h (topic, subscription_id)
        where h.topic = m.topic and h.subscription_id = r.subscription_id));
    if exists (select from unnest(times) t where t < now() + interval '1 second') then
        -- Else the leading worker might sleep past it.
        perform pg_notify('outrider_wake', 'due');
    end if;
    perform outrider.place(array_agg(p.subscription_id order by p.n),
        array_agg(hashtextextended(p.key, 0) order by p.n), array_agg(p.id order by p.n))
    from (
        select r.subscription_id, m.id, m.key, m.n
        from unnest(ids, topics, keys, times) with ordinality m (id, topic, key, deliver_at, n)
        join outrider.route r on not r.is_plain and r.subscription_id > 0
            and outrider.goes_to(m.topic, r.exact_topics, r.topic_expression)
        where (m.deliver_at is null or m.deliver_at <= now()) and (held_topics is null or not exists (
            select from unnest(held_topics, held_subscriptions) h (topic, subscription_id)
            where h.topic = m.topic and h.subscription_id = r.subscription_id))
    ) p having count(*) > 0;
end
$$;

-- Most of a publisher's time goes into starting statements, not into rows, so one statement checks, routes and wakes, and is
-- kept short: each node of its plan and each term of its conditions is made ready by every publish. In it: the left join
-- makes every row be read, and so checked, even when there is no subscription at all; the sleep lock is tried last, so that
-- only subscriptions that get something are locked, and not in the list of columns, where it would cost one more node. What
-- is left over is taken up afterwards, since asking the rows again would cost as much as routing them.
create function outrider.outbox_route() returns trigger
language plpgsql security definer as $$
begin
    insert into outrider.delivery (subscription_id, message_id)
    select r.subscription_id, m.id
    from published m
    left join outrider.route r on outrider.goes_to(m.topic, r.exact_topics, r.topic_expression)
    where outrider.enters_queue(m.topic, m.payload, m.headers, m.deliver_at,
        r.subscription_id, r.is_plain, r.exact_topics, r.permits);
    if outrider.has_rest() then
        perform outrider.route_rest(pg_catalog.array_agg(m.id), pg_catalog.array_agg(m.topic), pg_catalog.array_agg(m.key),
            pg_catalog.array_agg(m.deliver_at))
        from published m;
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
    if publish.id is null then
        insert into outrider.outbox as o (topic, key, payload, headers, deliver_at, expires_at, dedupe_key)
        values (publish.topic, publish.key, publish.payload, publish.headers, publish.deliver_at, publish.expires_at,
            publish.dedupe_key)
        returning o.id into published;
    else
        begin
            insert into outrider.outbox as o (id, topic, key, payload, headers, deliver_at, expires_at, dedupe_key)
            values (publish.id, publish.topic, publish.key, publish.payload, publish.headers, publish.deliver_at,
                publish.expires_at, publish.dedupe_key)
            returning o.id into published;
        exception
            when unique_violation then  -- an id that another open transaction, or this one, generated
                raise exception 'message id % exists', publish.id using errcode = 'OR008',
                    hint = 'Leave the id out to get a new one, or treat this as "already published".';
        end;
    end if;
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

-- Notes which topics are in the partitions of days that are over, which decides how long each is kept. An hour after its end
-- nothing new arrives in one but from transactions that are still open, and those end up in the queue.
create function outrider.close_partitions() returns void
language plpgsql security definer
set enable_seqscan = on
set search_path = pg_catalog, pg_temp as $$
declare
    closed outrider.outbox_partition;
begin
    for closed in
        select p.* from outrider.outbox_partition p where p.topics is null and p.upper_at < now() - interval '1 hour'
    loop
        execute format('select coalesce(array_agg(distinct topic), ''{}'') from outrider.%I', closed.name) into closed.topics;
        update outrider.outbox_partition p set topics = closed.topics where p.name = closed.name;
    end loop;
end
$$;

-- Drops one partition whose retention has passed, after moving aside what is still to be delivered. Returns its name, or
-- null when there is none to drop. Publishers wait while it waits for a lock, so it gives up after 100 ms (55P03) and is
-- called again later; and while it holds the lock it reads what is in the queue, never the whole partition.
create function outrider.drop_expired_partition() returns text
language plpgsql security definer
set enable_seqscan = on
set search_path = pg_catalog, pg_temp as $$
declare
    candidate outrider.outbox_partition;
    longest interval;
begin
    perform outrider.close_partitions();
    for candidate in
        select p.* from outrider.outbox_partition p where p.topics is not null order by p.lower_at
    loop
        select coalesce(max(coalesce(t.retention, interval '1 day')), interval '0') into longest
        from unnest(candidate.topics) topic
        left join outrider.topic t on t.name = topic;
        continue when candidate.upper_at + longest > now();

        perform set_config('lock_timeout', '100ms', true);
        execute format('alter table outrider.outbox detach partition outrider.%I', candidate.name);
        perform set_config('outrider.moving', 'on', true);
        execute format(
            'with queued as (
                 select d.message_id as id from outrider.delivery d where d.message_id >= $1 and d.message_id < $2
                 union
                 select s.message_id from outrider.scheduled s where s.message_id >= $1 and s.message_id < $2
                 union
                 select b.message_id from outrider.backlog b where b.message_id >= $1 and b.message_id < $2
                 union
                 select a.message_id from outrider.arrival a where a.message_id >= $1 and a.message_id < $2
             )
             insert into outrider.outbox_default
             select m.* from queued q join outrider.%1$I m on m.id = q.id
             union all
             -- An id of that day, chosen by a caller on a later one.
             select m.* from outrider.chosen_id c join outrider.%1$I m on m.id = c.id
             left join outrider.topic t on t.name = m.topic
             where c.id >= $1 and c.id < $2 and c.id not in (select q.id from queued q)
                 and m.published_at > now() - coalesce(t.retention, interval ''1 day'')',
            candidate.name) using outrider.uuid_v7_floor(candidate.lower_at), outrider.uuid_v7_floor(candidate.upper_at);
        perform set_config('outrider.moving', '', true);
        execute format('drop table outrider.%I', candidate.name);
        delete from outrider.outbox_partition p where p.name = candidate.name;
        insert into outrider.dropped_partition (name, lower_at, upper_at, topics)
        values (candidate.name, candidate.lower_at, candidate.upper_at, candidate.topics) on conflict do nothing;
        return candidate.name;
    end loop;
    return null;
end
$$;

select outrider.make_partitions();
