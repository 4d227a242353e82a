drop function outrider.barrier, outrider.inbox_accept;
drop table outrider.barrier, outrider.inbox;
revoke usage on schema outrider from public;
