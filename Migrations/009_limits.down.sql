drop view outrider.limits, outrider.endpoints;
drop trigger leave_limits on outrider.worker;
drop function outrider.limits_digest, outrider.leave_limits;
drop table outrider.limit_share, outrider.breaker, outrider.endpoint_failure;
