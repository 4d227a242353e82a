-- Limits that hold over all workers together, and the circuit breakers of endpoints.
--
-- A limit is a name and an amount. Each worker that takes part in it holds a share; what is granted never exceeds the amount
-- together, because whoever changes a share holds the advisory lock …017 meanwhile, takes only what the others have left, and
-- goes below what it held before it says so. A worker that is gone takes its shares with it. Rows change only when a share does.

create table outrider.limit_share (
    -- subscription:NAME:concurrency, subscription:NAME:rate, endpoint:NAME:concurrency, endpoint:NAME:rate
    name text not null,
    worker uuid not null,
    -- Requests in flight; of a rate, millionths of one a second.
    amount bigint not null,
    granted bigint not null,
    -- What the worker could use; -1 of one that stops.
    need bigint not null,
    primary key (name, worker)
);
create index limit_share_worker on outrider.limit_share (worker);
comment on table outrider.limit_share is 'What each worker may use of each limit.';

create table outrider.breaker (
    endpoint text primary key,
    opened_at timestamptz not null default clock_timestamp(),
    -- From then on one worker sends one request, to see.
    retry_at timestamptz not null,
    -- That opened it, probes that failed included.
    failures int not null,
    last_error text,
    opened_by text not null,
    -- Token of the worker that has the probe; one that is gone has it no more.
    prober uuid
);
comment on table outrider.breaker is 'Circuit breakers that are open; one that is closed has no row.';

-- Failures that are not enough to open a breaker add up over the workers.
create table outrider.endpoint_failure (
    endpoint text not null,
    worker uuid not null,
    failures int not null,
    primary key (endpoint, worker)
);
create index endpoint_failure_worker on outrider.endpoint_failure (worker);

create function outrider.leave_limits() returns trigger
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
begin
    delete from outrider.limit_share s where s.worker = old.token;
    delete from outrider.endpoint_failure f where f.worker = old.token;
    return null;
end
$$;

create trigger leave_limits after delete on outrider.worker for each row execute function outrider.leave_limits();

-- Changes whenever one of these rows does: what a worker compares at its beat.
create function outrider.limits_digest() returns text
language sql stable
set search_path = pg_catalog, pg_temp as $$
    select concat(
        (select concat(count(*), ' ', sum(hashtextextended(s.name || s.worker || ' ' || s.granted || ' ' || s.need, 0)))
            from outrider.limit_share s), ' ',
        (select string_agg(b.endpoint || b.retry_at || coalesce(b.prober::text, ''), ' ' order by b.endpoint)
            from outrider.breaker b), ' ',
        (select sum(f.failures) from outrider.endpoint_failure f))
$$;

create view outrider.endpoints as
select e.name, e.url, d.applied_at, d.applied_by, d.hash, d.content as definition,
    (d.content ->> 'concurrency')::int as concurrency, d.content ->> 'rate' as rate,
    case when not d.content ? 'breaker' then null when b.endpoint is null then 'closed'
        when exists (select from outrider.worker w where w.token = b.prober) then 'half_open' else 'open' end as breaker,
    b.opened_at, b.retry_at, b.last_error,
    case when d.content ? 'breaker' then coalesce(b.failures::bigint,
        (select sum(f.failures) from outrider.endpoint_failure f where f.endpoint = e.name), 0) end as failures
from outrider.endpoint e
left join outrider.definition d on d.kind = 'endpoint' and d.name = e.name and d.replaced_at is null
left join outrider.breaker b on b.endpoint = e.name and d.content ? 'breaker';

create view outrider.limits as
select split_part(s.name, ':', 1) as kind, split_part(s.name, ':', 2) as name, split_part(s.name, ':', 3) as limits,
    w.name as worker,
    case when s.name like '%:rate' then round(s.amount / 1000000.0, 6) else s.amount end as amount,
    case when s.name like '%:rate' then round(s.granted / 1000000.0, 6) else s.granted end as granted
from outrider.limit_share s
join outrider.worker w on w.token = s.worker;
