-- Q0: as it comes.
SELECT auction, bidder, price, at FROM bid;
-- Q1: another currency.
SELECT auction, bidder, 0.908 * price AS price, at FROM bid;
-- Q2: some auctions.
SELECT auction, price FROM bid WHERE auction % 3 = 0;
-- Q3: who sells in some states.
SELECT p.name, p.city, p.state, a.id FROM auction AS a JOIN person AS p ON a.seller = p.id
WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA');
-- Q4: the average of what auctions of a category were sold for.
SELECT q.category, avg(q.final) AS mean FROM (
    SELECT max(b.price) AS final, a.category FROM auction AS a JOIN bid AS b ON a.id = b.auction
    WHERE b.at BETWEEN a.at AND a.expires GROUP BY a.id, a.category
) AS q GROUP BY q.category;
-- Q9: the bids that won, by the highest price; those that are equal are all there.
SELECT a.id, a.item, a.seller, b.bidder, b.price FROM auction AS a JOIN bid AS b ON a.id = b.auction
JOIN (
    SELECT x.id, max(y.price) AS final FROM auction AS x JOIN bid AS y ON x.id = y.auction
    WHERE y.at BETWEEN x.at AND x.expires GROUP BY x.id
) AS w ON w.id = a.id AND w.final = b.price
WHERE b.at BETWEEN a.at AND a.expires;
-- Q13: with a table at the side.
SELECT b.auction, b.bidder, b.price, s.label FROM bid AS b JOIN side AS s ON b.auction % 4 = s.key;
-- Q14: a calculation, and the time of day.
SELECT auction, bidder, 0.908 * price AS price,
    CASE WHEN extract(hour FROM at) BETWEEN 8 AND 18 THEN 'day' WHEN extract(hour FROM at) <= 6 THEN 'night' ELSE 'other' END AS part,
    length(url) - length(replace(url, 'c', '')) AS letters
FROM bid WHERE 0.908 * price > 100 AND 0.908 * price < 50000;
-- Q15: bids and bidders of a day.
SELECT to_char(at, 'YYYY-MM-DD') AS day, count(*) AS bids,
    count(*) FILTER (WHERE price < 100) AS cheap, count(*) FILTER (WHERE price >= 100 AND price < 10000) AS middle,
    count(*) FILTER (WHERE price >= 10000) AS dear, count(DISTINCT bidder) AS bidders,
    count(DISTINCT bidder) FILTER (WHERE price < 100) AS cheap_bidders, count(DISTINCT auction) AS auctions
FROM bid GROUP BY to_char(at, 'YYYY-MM-DD');
-- Q16: the same of each channel, and its last minute.
SELECT channel, to_char(at, 'YYYY-MM-DD') AS day, max(to_char(at, 'HH24:MI')) AS minute, count(*) AS bids,
    count(DISTINCT bidder) AS bidders, count(DISTINCT auction) FILTER (WHERE price >= 10000) AS dear_auctions
FROM bid GROUP BY channel, to_char(at, 'YYYY-MM-DD');
-- Q17: what was bid for an auction on a day.
SELECT auction, to_char(at, 'YYYY-MM-DD') AS day, count(*) AS bids, count(*) FILTER (WHERE price < 100) AS cheap,
    min(price) AS lowest, max(price) AS highest, avg(price) AS mean, sum(price) AS total
FROM bid GROUP BY auction, to_char(at, 'YYYY-MM-DD');
-- Q20: bids with their auctions.
SELECT b.auction, b.bidder, b.price, b.channel, a.item, a.seller, a.category
FROM bid AS b JOIN auction AS a ON b.auction = a.id WHERE a.category = 10;
-- Q21: the number of a channel.
SELECT auction, bidder, price, channel,
    CASE WHEN lower(channel) = 'apple' THEN '0' WHEN lower(channel) = 'google' THEN '1' ELSE split_part(url, '/', 4) END AS channel_id
FROM bid WHERE split_part(url, '/', 4) <> '' OR lower(channel) IN ('apple', 'google');
-- Q22: the folders of an address.
SELECT auction, bidder, price, split_part(url, '/', 4) AS dir1, split_part(url, '/', 5) AS dir2, split_part(url, '/', 6) AS dir3 FROM bid;
