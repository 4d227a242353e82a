-- Least privilege. Roles belong to the whole cluster and may exist already; they cannot log in: grant them to those who do.

do $$
declare
    role text;
begin
    foreach role in array array['outrider_app', 'outrider_worker', 'outrider_operator', 'outrider_auditor',
        'outrider_step'] loop
        if not exists (select from pg_roles where rolname = role) then
            begin
                execute format('create role %I nologin', role);
            exception
                when duplicate_object or unique_violation then null;  -- another database's migration was faster
                when insufficient_privilege then
                    raise exception 'role % does not exist and % may not create it', role, current_user
                        using errcode = '42501', hint = format('As an administrator: create role %I nologin;', role);
            end;
        end if;
    end loop;
end
$$;

-- Operators are auditors too, and workers are both operators and applications. The `sql` steps of sagas run as outrider_step.
do $$
declare
    role text;
    member text;
begin
    for role, member in values ('outrider_auditor', 'outrider_operator'), ('outrider_operator', 'outrider_worker'),
        ('outrider_app', 'outrider_worker'), ('outrider_step', 'outrider_worker')
    loop
        continue when pg_has_role(member, role, 'member');
        begin
            execute format('grant %I to %I', role, member);
        exception
            when unique_violation then null;  -- another database's migration was faster
            when insufficient_privilege then
                raise exception 'role % is not a member of % and % may not grant it', member, role, current_user
                    using errcode = '42501', hint = format('As an administrator: grant %I to %I;', role, member);
        end;
    end loop;
end
$$;

-- Those of 005 see to it themselves: where they came first and alone, any role's handlers call them, and go on to.
do $$
declare
    one regprocedure;
begin
    for one in
        select p.oid from pg_proc p
        where p.pronamespace = 'outrider'::regnamespace and p.proname not in ('inbox_accept', 'barrier')
    loop
        execute format('revoke all on function %s from public', one);
    end loop;
end
$$;
grant usage on schema outrider to outrider_app, outrider_worker, outrider_operator, outrider_auditor;

-- Applications publish and take back, and nothing else.
grant insert (id, topic, key, payload, headers, deliver_at, expires_at, dedupe_key), select (id)
    on outrider.outbox to outrider_app;
grant execute on function outrider.uuid_v7, outrider.publish, outrider.cancel_message, outrider.start_saga,
    outrider.signal_saga(uuid, text, jsonb), outrider.signal_saga(text, text, text, jsonb), outrider.complete_step,
    outrider.fail_step, outrider.heartbeat_step, outrider.inbox_accept, outrider.barrier to outrider_app;

-- Auditors read the views, and which migrations ran.
grant select on outrider.messages, outrider.deliveries, outrider.delivery_attempts, outrider.dead_letters,
    outrider.queue_depth, outrider.scaling, outrider.subscriptions, outrider.endpoints, outrider.limits, outrider.workers, outrider.operations,
    outrider.definitions, outrider.sagas, outrider.saga_steps, outrider.saga_history,
    outrider.schedules, outrider.schedule_firings, outrider.topic_limits, outrider.dropped, outrider.migration to outrider_auditor;

-- A view's functions run as who reads it.
grant execute on function outrider.schedule_workers to outrider_auditor;

-- Operators put right.
grant execute on function outrider.cancel_message, outrider.pause, outrider.resume, outrider.redrive, outrider.discard,
    outrider.redrive_all, outrider.discard_all, outrider.replay, outrider.cancel_operation, outrider.cancel_saga,
    outrider.terminate_saga, outrider.suspend_saga,
    outrider.resume_saga, outrider.retry_saga, outrider.skip_step, outrider.resolve_step,
    outrider.pause_schedule, outrider.resume_schedule, outrider.run_schedule,
    outrider.signal_saga(uuid, text, jsonb), outrider.signal_saga(text, text, text, jsonb) to outrider_operator;

-- Workers apply definitions, deliver, and keep house.
grant select, insert, update, delete on all tables in schema outrider to outrider_worker;
grant usage, select on all sequences in schema outrider to outrider_worker;
grant execute on all functions in schema outrider to outrider_worker;

-- A statement of a workflow file may do what anybody may, and what is granted to this role.
grant usage on schema outrider to outrider_step;
