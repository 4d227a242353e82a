-- For handlers, in their own database: `outrider migrate --handlers-only` installs this step alone. It uses nothing of the
-- others, not even their roles.

create table outrider.inbox (
    consumer text not null,
    message_id text not null,
    at timestamptz not null default clock_timestamp(),
    primary key (consumer, message_id)
);
create index inbox_at on outrider.inbox using brin (at);

-- True the first time, in the caller's transaction; false for a duplicate. A second caller waits for the first one's commit.
create function outrider.inbox_accept(consumer text, message_id text) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
    if consumer is null or message_id is null then
        raise exception '% is null', case when consumer is null then 'consumer' else 'message_id' end
            using errcode = 'OR005', hint = 'inbox_accept(''billing'', ''<the Idempotency-Key>'')';
    elsif greatest(octet_length(consumer), octet_length(message_id)) > 1000 then
        raise exception '% has % bytes', case when octet_length(consumer) > 1000 then 'consumer' else 'message_id' end,
            greatest(octet_length(consumer), octet_length(message_id))
            using errcode = 'OR005', hint = 'Both have at most 1000 bytes; hash what is longer.';
    end if;
    insert into outrider.inbox (consumer, message_id)
    values (inbox_accept.consumer, inbox_accept.message_id) on conflict do nothing;
    return found;
end
$$;

create table outrider.barrier (
    saga_id uuid not null,
    step text not null,
    op text not null check (op in ('action', 'compensate')),
    at timestamptz not null default clock_timestamp(),
    primary key (saga_id, step, op)
);
create index barrier_at on outrider.barrier using brin (at);

-- Whether the caller's transaction is to do its work: false for a duplicate, and for a compensation whose action never ran;
-- the action is then refused, too, when it comes late. Sub-transaction barrier of dtm (Ye, "Distributed transactions: the
-- sub-transaction barrier", 2021): the compensation takes the action's place, so that only one of them can have it.
create function outrider.barrier(saga_id uuid, step text, op text) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    is_void boolean;
begin
    if saga_id is null or coalesce(step, '') = '' or octet_length(step) > 2000 or op is null or op not in ('action', 'compensate') then
        raise exception 'barrier(%, %, %) names no operation', quote_nullable(saga_id), quote_nullable(left(step, 80)), quote_nullable(op)
            using errcode = 'OR005',
            hint = 'Pass the headers on: barrier(<Outrider-Saga-Id>, <Outrider-Step>, <Outrider-Op>); the last is action or compensate.';
    end if;
    -- Whoever comes second waits for the first one's commit.
    insert into outrider.barrier (saga_id, step, op) values (barrier.saga_id, barrier.step, 'action') on conflict do nothing;
    if barrier.op = 'action' then
        return found;
    end if;
    is_void := found;
    insert into outrider.barrier (saga_id, step, op) values (barrier.saga_id, barrier.step, 'compensate') on conflict do nothing;
    return found and not is_void;
end
$$;

do $$
begin
    if to_regclass('outrider.outbox') is null then
        -- Alone: handlers call them under whatever role they have.
        grant usage on schema outrider to public;
        grant execute on function outrider.inbox_accept, outrider.barrier to public;
    else
        revoke all on function outrider.inbox_accept, outrider.barrier from public;
    end if;
end
$$;
