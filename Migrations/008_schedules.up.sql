-- Schedules: what is published or started at certain times.

create table outrider.schedule (
    -- The second key of the advisory lock (1870033020, id) that workers share which serve it.
    id int generated always as identity unique,
    name text primary key,
    hash text not null,
    cron text not null,
    timezone text not null,
    -- The earliest firing that was not made. It moves with each firing, in one transaction with what the firing does, and only
    -- from where the firing worker saw it: so each is made once.
    next_at timestamptz not null,
    last_at timestamptz,
    last_scheduled_at timestamptz,
    last_id uuid,
    last_error text,
    paused_at timestamptz,
    paused_by text,
    -- What came due until then, during the pause, is not made up for.
    resumed_at timestamptz
) with (fillfactor = 50);

create table outrider.schedule_firing (
    id uuid primary key default outrider.uuid_v7(),
    schedule text not null,
    scheduled_at timestamptz not null,
    -- Of one that a person asked for.
    requested_by text,
    -- Null until a worker has carried out what was asked for.
    fired_at timestamptz,
    message_id uuid,
    saga_id uuid,
    error text,
    worker text
);
create index schedule_firing_requested on outrider.schedule_firing (id) where fired_at is null;
create index schedule_firing_fired_at on outrider.schedule_firing using brin (fired_at);

-- ---------------------------------------------------------------------------------------------------------------
-- Firing

-- Does what a schedule is to do at `scheduled_at`, and makes `next_at` the next one; or, where nothing is to be done, only the
-- latter. Exactly once: of workers that come with the same `due` the first one has it. `run` is a firing that a person asked
-- for, which moves nothing. A failure, `error` of the expressions or what publishing and starting refuse, is recorded; what is
-- wrong for the moment only (a lock, a lack of resources) is raised, and nothing has happened.
--
-- Returns what became of it (taken: by another worker, by a pause, by other content; advanced, fired, failed), the id of the
-- message or saga, and the error.
create function outrider.fire_schedule(
    schedule text, hash text, due timestamptz, next_at timestamptz, run uuid, scheduled_at timestamptz,
    kind text, target text, key text, document jsonb, headers jsonb, error text, worker text
) returns table (outcome text, made uuid, failure text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
begin
    if run is null then
        update outrider.schedule s set next_at = fire_schedule.next_at
        where s.name = fire_schedule.schedule and s.hash = fire_schedule.hash and s.next_at = due and s.paused_at is null;
    else
        update outrider.schedule_firing f set fired_at = clock_timestamp()
        where f.id = run and f.fired_at is null and exists (
            select from outrider.schedule s where s.name = fire_schedule.schedule and s.hash = fire_schedule.hash);
    end if;
    outcome := case when not found then 'taken' when scheduled_at is null then 'advanced' when error is null then 'fired'
        else 'failed' end;
    if outcome in ('taken', 'advanced') then
        return next;
        return;
    end if;
    failure := error;
    if outcome = 'fired' then
        begin
            made := case kind when 'publish' then outrider.publish(target, document, key, headers)
                else outrider.start_saga(target, document, key, null, headers) end;
        exception
            when others then
                get stacked diagnostics failure = message_text;
                if left(sqlstate, 2) not in ('OR', '22', '23', '42', '54', 'P0') then
                    raise;
                end if;
                failure := failure || ' (' || sqlstate || ')';
                outcome := 'failed';
        end;
    end if;
    if run is null then
        insert into outrider.schedule_firing (schedule, scheduled_at, fired_at, message_id, saga_id, error, worker)
        values (fire_schedule.schedule, fire_schedule.scheduled_at, clock_timestamp(),
            case when kind = 'publish' then made end, case when kind = 'start' then made end, failure, fire_schedule.worker);
    else
        update outrider.schedule_firing f
        set message_id = case when kind = 'publish' then made end, saga_id = case when kind = 'start' then made end,
            error = failure, worker = fire_schedule.worker
        where f.id = run;
    end if;
    update outrider.schedule s
    set last_at = clock_timestamp(), last_scheduled_at = fire_schedule.scheduled_at, last_id = made, last_error = failure
    where s.name = fire_schedule.schedule;
    return next;
end
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- Operators

create function outrider.find_schedule(schedule text) returns outrider.schedule
language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
    one outrider.schedule;
begin
    select s.* into one from outrider.schedule s where s.name = find_schedule.schedule;
    if one.name is null then
        raise exception 'there is no schedule %', quote_nullable(schedule) using errcode = 'OR007',
            hint = 'select name from outrider.schedules; lists them.';
    end if;
    return one;
end
$$;

create function outrider.pause_schedule(schedule text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    one outrider.schedule := outrider.find_schedule(schedule);
begin
    update outrider.schedule s
    set paused_at = coalesce(s.paused_at, clock_timestamp()), paused_by = coalesce(s.paused_by, session_user)
    where s.id = one.id;
    perform outrider.announce();
end
$$;

create function outrider.resume_schedule(schedule text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    one outrider.schedule := outrider.find_schedule(schedule);
begin
    update outrider.schedule s
    set paused_at = null, paused_by = null, resumed_at = clock_timestamp()
    where s.id = one.id and s.paused_at is not null;
    perform outrider.announce();
end
$$;

-- How many living workers serve it.
create function outrider.schedule_workers(schedule_id int) returns int
language sql stable
set search_path = pg_catalog, pg_temp as $$
    select count(*)::int from pg_locks l
    where l.locktype = 'advisory' and l.classid = 1870033020 and l.objid = schedule_id::oid and l.granted
        and l.database = (select d.oid from pg_database d where d.datname = current_database())
$$;

-- Expressions are the workers': one of them carries it out, at once. Returns the firing's id.
create function outrider.run_schedule(schedule text) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    one outrider.schedule := outrider.find_schedule(schedule);
    asked uuid;
begin
    if outrider.schedule_workers(one.id) = 0 then
        raise exception 'no worker that is running serves schedule %', one.name using errcode = 'OR006',
            hint = 'Start one whose folder declares it, or one with --serve all.';
    end if;
    insert into outrider.schedule_firing as f (schedule, scheduled_at, requested_by)
    values (one.name, clock_timestamp(), session_user)
    returning f.id into asked;
    perform outrider.announce();
    return asked;
end
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- Views

create view outrider.schedules as
select s.name, s.cron, s.timezone,
    coalesce('publish ' || (d.content #>> '{publish,topic}'), 'start ' || (d.content #>> '{start,saga}')) as does,
    coalesce(d.content ->> 'missed', 'once') as missed, s.next_at, s.last_at, s.last_scheduled_at, s.last_id, s.last_error,
    s.paused_at, s.paused_by, outrider.schedule_workers(s.id) as workers, d.applied_at, d.applied_by, d.hash,
    d.content as definition
from outrider.schedule s
left join outrider.definition d on d.kind = 'schedule' and d.name = s.name and d.replaced_at is null;

create view outrider.schedule_firings as
select f.id, f.schedule, f.scheduled_at, f.fired_at, f.message_id, f.saga_id, f.error, f.requested_by, f.worker
from outrider.schedule_firing f;
