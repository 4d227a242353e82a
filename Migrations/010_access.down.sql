-- The roles stay: they belong to the cluster and may hold members.
revoke all on all tables in schema outrider from outrider_app, outrider_worker, outrider_operator, outrider_auditor;
revoke all on all sequences in schema outrider from outrider_worker;
revoke all on all functions in schema outrider from outrider_app, outrider_worker, outrider_operator, outrider_auditor;
revoke usage on schema outrider from outrider_app, outrider_worker, outrider_operator, outrider_auditor, outrider_step;
