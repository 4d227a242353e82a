drop view outrider.limits, outrider.endpoints;
drop function outrider.limits_digest;
drop table outrider.limit_share, outrider.breaker, outrider.endpoint_failure;
