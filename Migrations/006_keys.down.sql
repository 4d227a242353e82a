drop function outrider.settle_slots, outrider.has_unsettled_slots, outrider.nth_lane, outrider.tend_keys, outrider.hand_on,
    outrider.advance, outrider.place, outrider.expect_arrivals, outrider.lane;
