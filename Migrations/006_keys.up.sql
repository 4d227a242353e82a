-- Keys: how many messages of one key may be out at once, and in which order.

-- A subscription is *keyed* when its file says `ordered: true` (one message of a key at a time, in the order of commits) or
-- `concurrency_per_key: n`. Of a key there are never more rows in the queue than it has *slots*; all that is published beyond
-- that waits in `backlog`, which nobody scans: a blocked key costs the others nothing, however much waits behind it. A row
-- of the queue that ends for good hands its slot to the first one of the backlog, or gives it back.
--
--   backlog       waits for an earlier message of its key; read by key, from the place on that was reached
--   arrival       is to join the end of its key, and could not at once: see below
--   active_slot   a slot that is taken, as long as it is young
--   held_slot     a slot that has been taken for a while
--   key_check     a key that may have work, or a slot to give back, that its last message could not see to
--
-- *Lanes.* Publishers of a key exclude each other by an exclusive advisory lock on its lane (256 of each subscription) until
-- they commit, so that the order of places is the order of commits. A slot is given back only under a try for a share of
-- that lock: a publisher who found it taken may not have committed yet what it put behind it. Where the try fails, the key is
-- checked a moment later. Workers and operators never wait for a lane: what they bring (a replay, a redrive) goes to
-- `arrival`, and the leading worker places it. While a key has arrivals, publishers queue up behind them.
--
-- *Old snapshots.* A slot's row is inserted and deleted, maybe thousands of times for a key, and as long as somebody holds an
-- old snapshot every look at the key would read all those dead rows. So slots are looked for from their lane's floor on; now
-- and then, under the lane's lock, those that are still taken move to `held_slot`, and the floor rises. A floor is a new row
-- each time, and is looked for from the highest one down, so that nobody reads those of old.

create function outrider.lane(subscription_id int, key bigint) returns int
language sql immutable parallel safe
return (subscription_id << 8) | (key & 255)::int;

-- Has the leading worker look at the arrivals.
create function outrider.expect_arrivals(after interval default '0') returns void
language sql volatile
set search_path = pg_catalog, pg_temp as $$
    insert into outrider.key_check (due_at, subscription_id, key, place, slots)
    values (clock_timestamp() + after, 0, 0, 0, 0);
    select pg_notify('outrider_wake', 'due')
$$;

-- Puts messages, in the order of the arrays, to the end of their keys; those without a key into the queue.
--
--   flags       1 for a replay, 2 for a message that was redriven; null for none of either
--   admitting   by the leading worker, of arrivals that it took out
create function outrider.place(
    subscriptions int[], keys bigint[], messages uuid[], flags int[] default null, admitting boolean default false
) returns void
language plpgsql volatile
-- The tables are small or empty when their plans are made, and large when they are used.
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set search_path = pg_catalog, pg_temp as $$
declare
    -- A snapshot from before the lock on the lane does not show what is there now.
    sees_all constant boolean := current_setting('transaction_isolation') = 'read committed';
    woken int[];
    arrived int;
begin
    perform pg_advisory_xact_lock(1870033016, l.lane)
    from (
        select distinct outrider.lane(t.subscription_id, t.key) as lane
        from unnest(subscriptions, keys) t (subscription_id, key)
        where t.key is not null
        order by 1 offset 0
    ) l;
    with incoming as materialized (
        select t.subscription_id, t.key, t.message_id, t.n, coalesce(t.flags, 0) & 1 = 1 as replay,
            coalesce(t.flags, 0) & 2 = 2 as redriven,
            row_number() over (partition by t.subscription_id, t.key order by t.n) as nth
        from unnest(subscriptions, keys, messages, flags) with ordinality t (subscription_id, key, message_id, flags, n)
    ), keyed as materialized (
        -- How many slots are free; null where it cannot be told, or where others come first.
        select k.subscription_id, k.key,
            case when admitting or sees_all and not r.opening and not exists (select from outrider.arrival a
                where a.subscription_id = k.subscription_id and a.key = k.key)
            then coalesce(r.per_key, 1)
                - (select count(*) from outrider.active_slot a
                    where a.lane = outrider.lane(k.subscription_id, k.key) and a.since > f.floor and a.key = k.key)
                - (select count(*) from outrider.held_slot h
                    where h.subscription_id = k.subscription_id and h.key = k.key) end as free
        from (select distinct i.subscription_id, i.key from incoming i where i.key is not null) k
        left join outrider.route r on r.subscription_id = k.subscription_id
        cross join lateral (
            select coalesce(max(f.floor), 0) as floor from outrider.lane_floor f
            where f.lane = outrider.lane(k.subscription_id, k.key)
        ) f
    ), placed as materialized (
        select p.*, nextval('outrider.place') as place
        from (
            select i.*, k.free from incoming i
            join keyed k on k.subscription_id = i.subscription_id and k.key = i.key
            order by i.n offset 0
        ) p
    ), arriving as (
        insert into outrider.arrival (subscription_id, key, is_old, replay, redriven, message_id)
        select p.subscription_id, p.key, false, p.replay, p.redriven, p.message_id
        from placed p where p.free is null order by p.n
        returning 1
    ), taking as (
        insert into outrider.active_slot (lane, since, key)
        select outrider.lane(p.subscription_id, p.key), p.place, p.key from placed p where p.nth <= p.free
    ), waiting as (
        insert into outrider.backlog (subscription_id, key, place, replay, redriven, message_id)
        select p.subscription_id, p.key, p.place, p.replay, p.redriven, p.message_id
        from placed p where p.nth > p.free
    ), ready as (
        insert into outrider.delivery (subscription_id, key, place, replay, redriven, message_id)
        select r.subscription_id, r.key, r.place, r.replay, r.redriven, r.message_id
        from (
            select p.subscription_id, p.key, p.place, p.replay, p.redriven, p.message_id, p.n
            from placed p where p.nth <= p.free
            union all
            select i.subscription_id, null, null, i.replay, i.redriven, i.message_id, i.n
            from incoming i where i.key is null
        ) r order by r.n
        returning subscription_id
    )
    select array_agg(distinct r.subscription_id), (select count(*) from arriving) into woken, arrived from ready r;
    perform outrider.wake(woken);
    if arrived > 0 then
        perform outrider.expect_arrivals();
    end if;
end
$$;

-- Slots whose messages have ended for good: each goes to the first message that waits for it, or is given back.
create function outrider.advance(subscriptions int[], keys bigint[], places bigint[]) returns void
language plpgsql volatile
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set search_path = pg_catalog, pg_temp as $$
begin
    perform outrider.hand_on(array_agg(t.subscription_id), array_agg(t.key), array_agg(t.place), array_agg(t.slots))
    from (
        select t.subscription_id, t.key, max(t.place) as place, count(*)::int as slots
        from unnest(subscriptions, keys, places) t (subscription_id, key, place)
        where t.place is not null
        group by t.subscription_id, t.key
    ) t having count(*) > 0;
end
$$;

-- The same for slots that are counted already: `places` are those that the keys have reached.
create function outrider.hand_on(subscriptions int[], keys bigint[], places bigint[], slots int[]) returns void
language plpgsql volatile
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set search_path = pg_catalog, pg_temp as $$
declare
    free_lanes int[];
    woken int[];
    checks int;
begin
    -- First the locks, then a snapshot that shows what publishers committed before they gave theirs back.
    free_lanes := array(
        select l.lane
        from (
            select distinct outrider.lane(t.subscription_id, t.key) as lane
            from unnest(subscriptions, keys) t (subscription_id, key) offset 0
        ) l
        where pg_try_advisory_xact_lock_shared(1870033016, l.lane));
    with ended as materialized (
        select t.subscription_id, t.key, t.place, t.slots
        from unnest(subscriptions, keys, places, slots) t (subscription_id, key, place, slots)
    ), following as materialized (
        select b.subscription_id, b.key, b.place
        from ended e cross join lateral (
            select b.subscription_id, b.key, b.place from outrider.backlog b
            where b.subscription_id = e.subscription_id and b.key = e.key and b.place > e.place
            order by b.place limit e.slots
        ) b
        -- In one order everywhere, so that two workers with messages of one key do not wait for each other in a circle.
        order by b.subscription_id, b.key, b.place
    ), taken as (
        delete from outrider.backlog b using following f
        where b.subscription_id = any (array[f.subscription_id]) and b.key = any (array[f.key])
            and b.place = any (array[f.place])
        returning b.*
    ), ready as (
        insert into outrider.delivery (subscription_id, key, place, replay, redriven, message_id)
        select t.subscription_id, t.key, t.place, t.replay, t.redriven, t.message_id from taken t order by t.place
        returning subscription_id
    ), idle as materialized (
        select e.*, e.slots - t.count as left_over,
            f.count = t.count and outrider.lane(e.subscription_id, e.key) = any (free_lanes) as is_certain
        from ended e
        cross join lateral (
            select count(*) from taken t where t.subscription_id = e.subscription_id and t.key = e.key) t
        cross join lateral (
            select count(*) from following t where t.subscription_id = e.subscription_id and t.key = e.key) f
        where e.slots > t.count
    ), young as (
        delete from outrider.active_slot where ctid = any (array(
            select a.ctid
            from idle i
            cross join lateral (
                select coalesce(max(f.floor), 0) as floor from outrider.lane_floor f
                where f.lane = outrider.lane(i.subscription_id, i.key)
            ) f
            cross join lateral (
                select a.ctid from outrider.active_slot a
                where a.lane = outrider.lane(i.subscription_id, i.key) and a.since > f.floor and a.key = i.key
                -- Those that are alive are the newest. Another worker may be giving back a slot of the same key.
                order by a.since desc limit i.left_over for update skip locked
            ) a
            where i.is_certain))
        returning lane, key
    ), old as (
        delete from outrider.held_slot where ctid = any (array(
            select h.ctid
            from idle i
            cross join lateral (
                select count(*) from young y
                where y.lane = outrider.lane(i.subscription_id, i.key) and y.key = i.key
            ) y
            cross join lateral (
                select h.ctid from outrider.held_slot h
                where h.subscription_id = i.subscription_id and h.key = i.key
                order by h.since desc limit i.left_over - y.count for update skip locked
            ) h
            where i.is_certain and i.left_over > y.count))
    ), later as (
        insert into outrider.key_check (due_at, subscription_id, key, place, slots)
        select clock_timestamp() + interval '20 ms', i.subscription_id, i.key, i.place, i.left_over
        from idle i where not i.is_certain
        returning 1
    )
    select array_agg(distinct r.subscription_id), (select count(*) from later) into woken, checks from ready r;
    perform outrider.wake(woken);
    if checks > 0 then
        perform pg_notify('outrider_wake', 'due');
    end if;
end
$$;

-- Sees to the keys that are to be checked, and places arrivals, at most `most` of each.
create function outrider.tend_keys(most int default 1000) returns void
language plpgsql volatile
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set search_path = pg_catalog, pg_temp as $$
declare
    checks outrider.key_check[];
    placeable bigint[];
    seen int;
    taken record;
begin
    with due as (
        delete from outrider.key_check where id = any (array(
            select c.id from outrider.key_check c where c.due_at <= clock_timestamp() order by c.due_at limit most
            for update skip locked))
        returning *
    )
    select array_agg(d) into checks from due d;
    if checks is null then
        return;
    end if;
    perform outrider.hand_on(array_agg(c.subscription_id), array_agg(c.key), array_agg(c.place), array_agg(c.slots))
    from (
        select c.subscription_id, c.key, max(c.place) as place, sum(c.slots)::int as slots
        from unnest(checks) c where c.slots > 0 group by c.subscription_id, c.key
    ) c having count(*) > 0;

    -- Publishers hold their lanes until they commit, and are not waited for.
    with first as materialized (
        select a.id, outrider.lane(a.subscription_id, a.key) as lane
        from outrider.arrival a
        join outrider.route r on r.subscription_id = a.subscription_id and not r.opening
        order by a.is_old desc, a.id limit most
    ), free as materialized (
        select l.lane
        from (select distinct f.lane from first f offset 0) l
        where pg_try_advisory_xact_lock(1870033016, l.lane)
    )
    select count(*), array_agg(f.id) filter (where f.lane in (select free.lane from free)) into seen, placeable from first f;
    with gone as (
        delete from outrider.arrival a where a.id = any (placeable) returning a.*
    )
    select array_agg(g.subscription_id order by g.is_old desc, g.id) as subscriptions,
        array_agg(g.key order by g.is_old desc, g.id) as keys,
        array_agg(g.message_id order by g.is_old desc, g.id) as messages,
        array_agg(g.replay::int + 2 * g.redriven::int order by g.is_old desc, g.id) as flags,
        count(*) as count
    into taken from gone g;
    if taken.count > 0 then
        perform outrider.place(taken.subscriptions, taken.keys, taken.messages, taken.flags, true);
    end if;
    if seen >= most or taken.count < seen then
        perform outrider.expect_arrivals(case when taken.count > 0 then interval '0' else interval '50 ms' end);
    end if;
end
$$;

-- The lanes of all keyed subscriptions come round and round: the nth of them, null when there is none; and its floor.
create function outrider.nth_lane(n bigint, out lane int, out floor bigint)
language sql stable
set enable_seqscan = on
set search_path = pg_catalog, pg_temp as $$
    select l.lane, (select coalesce(max(f.floor), 0) from outrider.lane_floor f where f.lane = l.lane)
    from (
        select k.ids[(n >> 8) % cardinality(k.ids) + 1] << 8 | (n & 255)::int as lane
        from (select array_agg(r.subscription_id order by r.subscription_id) as ids
            from outrider.route r where r.per_key is not null) k
    ) l
$$;

-- Whether so many places were given since a lane was settled that it is time for the next ones. At 2,000 messages a second of one
-- subscription each lane's turn comes after some seconds.
create function outrider.has_unsettled_slots() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp as $$
    select n.lane is not null and p.last_value - n.floor >= 128
    from outrider.place p, outrider.settling s, outrider.nth_lane(s.last_value) n
$$;

-- Moves slots that are still taken out of the way of those that come and go, and raises the floors: of the next `lanes` lanes,
-- whose publishers wait for it. Returns of how many.
create function outrider.settle_slots(lanes int default 16) returns int
language plpgsql volatile
set enable_seqscan = off
set search_path = pg_catalog, pg_temp as $$
declare
    reached constant bigint := (select p.last_value from outrider.place p);
    stale record;
    settled int := 0;
begin
    for i in 1 .. lanes loop
        stale := outrider.nth_lane(nextval('outrider.settling'));
        -- Nobody draws a place in this lane and nobody gives back a slot of it: its rows are all there.
        continue when stale.lane is null or stale.floor >= reached
            or not pg_try_advisory_xact_lock(1870033016, stale.lane);
        with settling as (
            delete from outrider.active_slot a where a.lane = stale.lane and a.since > stale.floor
            returning a.key, a.since
        ), held as (
            insert into outrider.held_slot (subscription_id, key, since)
            select stale.lane >> 8, s.key, s.since from settling s
        ), below as (
            delete from outrider.lane_floor f where f.lane = stale.lane and f.floor = stale.floor
        )
        insert into outrider.lane_floor (lane, floor) values (stale.lane, reached);
        settled := settled + 1;
    end loop;
    return settled;
end
$$;
