drop function outrider.settle_slots, outrider.tend_keys, outrider.hand_on, outrider.advance, outrider.place, outrider.expect_arrivals, outrider.lane;
