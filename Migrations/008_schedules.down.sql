drop view outrider.schedule_firings, outrider.schedules;
drop function outrider.fire_schedule, outrider.run_schedule, outrider.schedule_workers, outrider.resume_schedule,
    outrider.pause_schedule, outrider.find_schedule;
drop table outrider.schedule, outrider.schedule_firing;

-- A definition that stays would not be applied again.
delete from outrider.definition where kind = 'schedule';
