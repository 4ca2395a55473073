-- The statements that a booking without lanes needs: one transaction holds the ticket, and another one
-- confirms the booking. pgbench runs them, to show what the database can do without Python.
SELECT gen_random_uuid() AS key \gset
BEGIN;
SELECT id, available_quantity FROM concerts_tickettier WHERE id = :tier FOR NO KEY UPDATE;
SELECT status, date FROM concerts_concert WHERE id = :concert;
SELECT id FROM bookings_booking WHERE user_id = :customer AND idempotency_key = :key;
INSERT INTO bookings_booking
    (user_id, ticket_tier_id, quantity, unit_price, total_price, status, payment_status,
     idempotency_key, hold_expires_at)
VALUES (:customer, :tier, 1, 10, 10, 'PENDING', 'PENDING', :key, now() + interval '1 minute')
RETURNING id AS booking \gset
UPDATE concerts_tickettier SET available_quantity = available_quantity - 1, updated_at = now()
WHERE id = :tier;
COMMIT;
BEGIN;
UPDATE bookings_booking SET status = 'CONFIRMED', payment_status = 'SUCCESS', updated_at = now()
WHERE id = :booking AND status = 'PENDING';
COMMIT;
