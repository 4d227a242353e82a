drop function outrider.barrier, outrider.inbox_accept;
drop table outrider.barrier, outrider.inbox;
